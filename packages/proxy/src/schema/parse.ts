import { Composer, isAlias, isMap, isScalar, isSeq, Lexer, Parser, visit } from 'yaml';
import type { Document, ParsedNode, YAMLError } from 'yaml';
import type { Report } from './report.ts';
import type { Place, Source } from './source.ts';

/** A value of a configuration text and where it stands. A shared YAML anchor is one Value in several places. */
export type Value = ScalarValue | ListValue | MappingValue;

export interface ScalarValue {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
  /** As it is written, for a plain word; the value itself where it was quoted. `0123` is a number and `0123` here. */
  readonly text: string;
  readonly place: Place;
}

export interface ListValue {
  readonly kind: 'list';
  readonly items: readonly Value[];
  readonly place: Place;
}

export interface MappingValue {
  readonly kind: 'mapping';
  readonly entries: readonly Entry[];
  readonly place: Place;
}

/** One `key: value`. */
export interface Entry {
  readonly key: string;
  readonly place: Place;
  readonly value: Value;
}

/** What one text may cost. Each has a default that no file written by a person comes near. */
export interface ParseLimits {
  /** Collections inside collections. Default 64. */
  readonly maxDepth: number;
  /** Words and marks of the text. Default 10 million, some two million lines. */
  readonly maxTokens: number;
  /** `*aliases` in one text. Default 100. */
  readonly maxAliases: number;
  /** Values that all aliases together stand for. Default 10,000. */
  readonly maxAliasValues: number;
}

const defaultLimits: ParseLimits = {
  maxDepth: 64,
  maxTokens: 10_000_000,
  maxAliases: 100,
  maxAliasValues: 10_000,
};

/**
 * Parses YAML, or JSON, which YAML contains. What is wrong goes to the report; then, and for a text without content, the
 * answer is undefined. Beyond YAML's own rules: one document, no key twice (also not in other capitals, as GOST does not
 * tell them apart), keys are words, and the limits above hold before anything costly is done.
 */
export function parseTree(
  source: Source,
  report: Report,
  limits: Partial<ParseLimits> = {},
): Value | undefined {
  const { maxDepth, maxTokens, ...aliasLimits } = { ...defaultLimits, ...limits };
  const control = controlCharacter.exec(source.text);
  if (control !== null) {
    const code = control[0].charCodeAt(0).toString(16).padStart(4, '0').toUpperCase();
    report.error(
      { source, offset: control.index },
      '',
      control[0] === '\uFFFD'
        ? 'this is not UTF-8 text'
        : `the control character U+${code} cannot stand here`,
    );
    return undefined;
  }
  const composer = new Composer({ uniqueKeys: false, prettyErrors: false, strict: true, logLevel: 'silent' });
  const parser = new Parser();
  const documents: Document.Parsed[] = [];
  let tokens = 0;
  for (const lexeme of new Lexer().lex(source.text)) {
    for (const token of parser.next(lexeme)) documents.push(...composer.next(token));
    // The stack holds the document itself and, at its top, the value that is being read.
    const tooDeep = parser.stack.length > maxDepth + 2;
    if (tooDeep || ++tokens > maxTokens) {
      const offset = Math.min(parser.offset, source.text.length);
      const message = tooDeep
        ? `nested more than ${String(maxDepth)} levels deep`
        : `the text has more than ${String(maxTokens)} words and marks; split it into several files`;
      report.error({ source, offset }, '', message);
      return undefined;
    }
  }
  for (const token of parser.end()) documents.push(...composer.next(token));
  documents.push(...composer.end(true, source.text.length));
  const before = report.errors.length;
  for (const document of documents) {
    // A closing bracket that is not indented is only a warning, and GOST's parser takes it.
    const warnings = document.warnings.filter(({ code }) => code !== 'BAD_INDENT');
    for (const error of [...document.errors, ...warnings]) {
      const quote = error.code === 'MISSING_CHAR' ? openQuote(document, error.pos[0]) : undefined;
      const offset = quote ?? Math.min(error.pos[0], source.text.length);
      report.error(
        { source, offset },
        '',
        quote === undefined ? explain(error) : 'this quote is never closed',
      );
    }
  }
  const [first, second] = documents;
  if (second !== undefined) {
    report.error({ source, offset: second.range[0] }, '', 'a second document begins here; a file holds one');
  }
  if (report.errors.length > before || !first?.contents) return undefined;
  const value = createConverter(source, report, aliasLimits)(first.contents);
  return report.errors.length > before ? undefined : value;
}

// What YAML 1.2.2, section 5.1, does not count as printable, and the mark of bytes that are no UTF-8.
// eslint-disable-next-line no-control-regex
const controlCharacter = /[\0-\x08\x0B\x0C\x0E-\x1F\x7F\uFFFD\uFFFE\uFFFF]/;

/** The library reports an open quote where it gave up looking for the end, often far away; this is where it begins. */
function openQuote(document: Document.Parsed, end: number): number | undefined {
  let found: number | undefined;
  visit(document, {
    Scalar(_, { type, range }) {
      if (range?.[1] !== end || (type !== 'QUOTE_DOUBLE' && type !== 'QUOTE_SINGLE')) return undefined;
      found = range[0];
      return visit.BREAK;
    },
  });
  return found;
}

/** The library's own messages quote the text, which may be a password; these do not. */
function explain(error: YAMLError): string {
  return explanations[error.code] ?? 'this is not YAML';
}

const explanations: Partial<Record<YAMLError['code'], string>> = {
  ALIAS_PROPS: 'an alias (`*name`) cannot have an anchor or a tag',
  BAD_ALIAS: 'this is not an alias; put a value that begins with `*` or `&` in quotes',
  BAD_DIRECTIVE: 'this directive (`%`) is not understood; put a value that begins with `%` in quotes',
  BAD_DQ_ESCAPE:
    'in double quotes a backslash begins an escape and this is none; write `\\\\`, or use single quotes',
  BAD_INDENT: 'this line is indented more or less than the lines that it belongs to',
  BAD_SCALAR_START: 'a value that begins with this character must be in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a second `key:` on one line; put a value that holds `: ` in quotes',
  BLOCK_IN_FLOW: 'inside `[]` or `{}` a list or mapping is written with `[]` or `{}` too',
  KEY_OVER_1024_CHARS: 'a key of more than 1,024 characters',
  MISSING_CHAR: 'a closing quote, bracket, comma or space is missing',
  MULTILINE_IMPLICIT_KEY: 'a key must stand on one line; is a `:` missing, or the indentation wrong?',
  MULTIPLE_ANCHORS: 'a value can have one anchor (`&name`)',
  MULTIPLE_DOCS: 'a second document begins here; a file holds one',
  MULTIPLE_TAGS: 'a value can have one tag (`!name`)',
  TAB_AS_INDENT: 'a tab stands where YAML wants spaces',
  TAG_RESOLVE_FAILED: 'this tag (`!name`) means nothing here; put a value that begins with `!` in quotes',
  UNEXPECTED_TOKEN:
    'this cannot stand here; a value with `:`, `#`, brackets or quotes in it must be in quotes',
};

function createConverter(
  source: Source,
  report: Report,
  limits: Pick<ParseLimits, 'maxAliases' | 'maxAliasValues'>,
): (node: ParsedNode) => Value {
  const anchors = new Map<string, { value: Value; size: number } | 'open'>();
  let aliases = 0;
  let aliasValues = 0;
  let made = 0;

  const convert = (node: ParsedNode | null, offset: number): Value => {
    const place: Place = { source, offset: node?.range[0] ?? offset };
    if (node === null) return { kind: 'scalar', value: null, text: '', place };
    if (isAlias(node)) return resolve(node.source, place);
    const anchor = node.anchor;
    if (anchor !== undefined) anchors.set(anchor, 'open');
    const before = made++;
    const value = isMap(node)
      ? mapping(node.items as Pair[], place)
      : isSeq(node)
        ? {
            kind: 'list' as const,
            items: node.items.map((item) => convert(item as ParsedNode, place.offset)),
            place,
          }
        : scalar(node, place);
    if (anchor !== undefined) anchors.set(anchor, { value, size: made - before });
    return value;
  };

  const resolve = (name: string, place: Place): Value => {
    const nothing: Value = { kind: 'scalar', value: null, text: '', place };
    const found = anchors.get(name);
    // The name is not shown: it is what follows an unquoted `*`, and that may be a password.
    if (found === undefined) {
      report.error(
        place,
        '',
        'no anchor of this name comes before; put a value that begins with `*` in quotes',
      );
      return nothing;
    }
    if (found === 'open') {
      report.error(place, '', 'this alias stands for a value that it is itself a part of');
      return nothing;
    }
    aliases++;
    aliasValues += found.size;
    made += found.size;
    if (aliases > limits.maxAliases || aliasValues > limits.maxAliasValues) {
      if (aliases <= limits.maxAliases + 1) {
        report.error(
          place,
          '',
          `more than ${String(limits.maxAliases)} aliases, or aliases for more than ${String(limits.maxAliasValues)} values`,
        );
        aliases = limits.maxAliases + 1;
      }
      return nothing;
    }
    return found.value;
  };

  const mapping = (items: readonly Pair[], place: Place): MappingValue => {
    const entries: Entry[] = [];
    const merged: MappingValue[] = [];
    const seen = new Set<string>();
    for (const { key, value } of items) {
      const keyPlace: Place = { source, offset: key?.range[0] ?? place.offset };
      if (!isScalar(key)) {
        report.error(keyPlace, '', 'a key is a word, not a list, a mapping or an alias');
        continue;
      }
      const name = key.value === null ? '' : (key.source ?? String(key.value));
      const inner = convert(value, key.range[1]);
      if (name === '<<' && key.type === 'PLAIN') {
        for (const part of inner.kind === 'list' ? inner.items : [inner]) {
          if (part.kind === 'mapping') merged.push(part);
          else report.error(part.place, '', '`<<` takes a mapping, or a list of mappings');
        }
        continue;
      }
      // A key may be a password by mistake (`{token:secret}`), so that only what looks like a word is shown.
      const shown = /^[\w.-]{1,40}$/.test(name) ? `\`${name}\`` : 'this key';
      if (seen.has(name.toLowerCase())) report.error(keyPlace, '', `${shown} is given twice in one mapping`);
      seen.add(name.toLowerCase());
      entries.push({ key: name, place: keyPlace, value: inner });
    }
    for (const entry of merged.flatMap((part) => part.entries)) {
      if (seen.has(entry.key.toLowerCase())) continue;
      seen.add(entry.key.toLowerCase());
      entries.push(entry);
    }
    return { kind: 'mapping', entries, place };
  };

  return (node) => convert(node, 0);
}

interface Pair {
  readonly key: ParsedNode | null;
  readonly value: ParsedNode | null;
}

function scalar(node: ParsedNode, place: Place): ScalarValue {
  const value: unknown = isScalar(node) ? node.value : null;
  const known = typeof value === 'number' || typeof value === 'boolean' || value === null;
  const text = typeof value === 'string' ? value : (isScalar(node) && node.source) || '';
  return { kind: 'scalar', value: known ? value : text, text, place };
}
