/**
 * Puts what a pattern matched into a replacement as Go's regexp package does, which GOST's users write for: `$1` and `${1}`,
 * `$name` and `${name}`, `$$` for a dollar. A name is as long as it can be, so that `$1x` is the group `1x`; a group that is not
 * there is empty.
 */
export function expandTemplate(template: string, match: RegExpMatchArray): string {
  if (!template.includes('$')) return template;
  return template.replace(/\$(?:\$|(\w+)|\{(\w+)\})/g, (all, bare?: string, braced?: string) => {
    if (all === '$$') return '$';
    const name = (bare ?? braced)!;
    return (/^\d+$/.test(name) ? match[Number(name)] : match.groups?.[name]) ?? '';
  });
}

/** Every match of a pattern, which must be global, replaced by the expanded template. */
export function replaceAll(text: string, pattern: RegExp, template: string): string {
  let result = '';
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    result += text.slice(at, match.index) + expandTemplate(template, match);
    at = match.index + match[0].length;
  }
  return at === 0 && result === '' ? text : result + text.slice(at);
}

/**
 * Compiles a pattern in Go's words as far as JavaScript has them: flags in front (`(?i)`, `(?s)`, `(?m)`) and names
 * (`(?P<name>…)`). Throws SyntaxError for what cannot be read.
 */
export function compilePattern(written: string): RegExp {
  const flags = /^\(\?([ims]+)\)/.exec(written);
  const source = (flags === null ? written : written.slice(flags[0].length)).replaceAll('(?P<', '(?<');
  return new RegExp(source, `gu${[...new Set(flags?.[1] ?? '')].join('')}`);
}
