/** Where a value stands in a text of JSON. */
export interface JsonSpan {
  readonly from: number;
  readonly to: number;
}

/** Deeper texts are left alone. */
const maxDepth = 256;

/**
 * Finds the value at a path in a text of JSON: names and indexes (`0` is the first) with dots between them, `\.` for a dot in
 * a name. Everything else in the text stays as it is when the value is replaced. Undefined where there is none, or where the
 * text is no JSON up to there. Of a name that comes twice the first counts.
 */
export function findJsonValue(text: string, path: string): JsonSpan | undefined {
  const steps = path.split(/(?<!\\)\./).map((step) => step.replace(/\\(.)/g, '$1'));
  let at = skipSpace(text, 0);
  for (const step of steps) {
    const inner = enter(text, at, step);
    if (inner === undefined) return undefined;
    at = inner;
  }
  const to = skipValue(text, at, 0);
  return to === undefined ? undefined : { from: at, to };
}

/** A value as text: a string without its quotes, anything else as it is written. */
export function textOfJson(text: string, { from, to }: JsonSpan): string | undefined {
  const written = text.slice(from, to);
  if (!written.startsWith('"')) return written;
  try {
    return JSON.parse(written) as string;
  } catch {
    // Not JSON after all.
    return undefined;
  }
}

/** Where the member or item begins. */
function enter(text: string, at: number, step: string): number | undefined {
  const isObject = text[at] === '{';
  if (!isObject && text[at] !== '[') return undefined;
  let next = skipSpace(text, at + 1);
  for (let index = 0; text[next] !== (isObject ? '}' : ']'); index++) {
    let key = String(index);
    if (isObject) {
      const end = text[next] === '"' ? skipString(text, next) : undefined;
      if (end === undefined) return undefined;
      const name = textOfJson(text, { from: next, to: end });
      if (name === undefined) return undefined;
      key = name;
      next = skipSpace(text, end);
      if (text[next] !== ':') return undefined;
      next = skipSpace(text, next + 1);
    }
    if (key === step) return next;
    const end = skipValue(text, next, 0);
    if (end === undefined) return undefined;
    next = skipSpace(text, end);
    if (text[next] === ',') next = skipSpace(text, next + 1);
    else if (text[next] !== '}' && text[next] !== ']') return undefined;
  }
  return undefined;
}

function skipValue(text: string, at: number, depth: number): number | undefined {
  const first = text[at];
  if (first === '"') return skipString(text, at);
  if (first !== '{' && first !== '[') {
    const scalar = /(?:true|false|null|-?\d[\d.eE+-]*)/y;
    scalar.lastIndex = at;
    return scalar.test(text) ? scalar.lastIndex : undefined;
  }
  if (depth > maxDepth) return undefined;
  const close = first === '{' ? '}' : ']';
  let next = skipSpace(text, at + 1);
  while (text[next] !== close) {
    if (first === '{') {
      const end = text[next] === '"' ? skipString(text, next) : undefined;
      if (end === undefined) return undefined;
      next = skipSpace(text, end);
      if (text[next] !== ':') return undefined;
      next = skipSpace(text, next + 1);
    }
    const end = skipValue(text, next, depth + 1);
    if (end === undefined) return undefined;
    next = skipSpace(text, end);
    if (text[next] === ',') next = skipSpace(text, next + 1);
    else if (text[next] !== close) return undefined;
  }
  return next + 1;
}

function skipString(text: string, at: number): number | undefined {
  for (let next = at + 1; next < text.length; next++) {
    if (text[next] === '"') return next + 1;
    if (text[next] === '\\') next++;
  }
  return undefined;
}

function skipSpace(text: string, at: number): number {
  let next = at;
  while (next < text.length && ' \t\r\n'.includes(text[next]!)) next++;
  return next;
}
