import type { Report } from '../schema/report.ts';
import type { Place } from '../schema/source.ts';

/** A part of a URL, decoded, and where it stands in what was written. */
export interface Part {
  readonly text: string;
  readonly place: Place;
}

/** One `key=value` of the query. */
export interface Param extends Part {
  readonly key: string;
  readonly keyPlace: Place;
  /** The value with every `+` as it stands: for URLs and base64 within a URL. In `text` it is a space, as in GOST. */
  readonly literal: string;
}

/** A URL of the command line: `scheme://user:password@host/path?key=value`, every part but the host optional. */
export interface CliUrl {
  readonly place: Place;
  /** What stands before `://`, in small letters, split at `+`; empty where there is no scheme. */
  readonly schemes: readonly Part[];
  /** Before the `@`: a name, and what follows its first colon. */
  readonly user: Part | undefined;
  readonly password: Part | undefined;
  readonly host: Part;
  /** With its slash; empty where there is none. */
  readonly path: Part;
  readonly params: readonly Param[];
}

/**
 * Takes a URL apart as GOST does, which is not quite RFC 3986: a host may be a port range, or a list. What is wrong goes to
 * the report, never with the text itself, which may hold a password. `at` is the place of an offset in the text.
 */
export function parseCliUrl(text: string, at: (offset: number) => Place, report: Report): CliUrl | undefined {
  const before = report.errors.length;
  const fail = (offset: number, message: string): undefined => {
    report.error(at(offset), '', message);
    return undefined;
  };
  // eslint-disable-next-line no-control-regex
  const control = /[\0-\x1f\x7f]/.exec(text);
  if (control !== null) return fail(control.index, 'a control character cannot stand in a URL');
  const hash = text.indexOf('#');
  if (hash !== -1) return fail(hash, '`#` cannot stand in a URL; write `%23`');

  /** Percent-decoding alone; a `+` stays. */
  const decode = (raw: string, offset: number): string => {
    try {
      return decodeURIComponent(raw);
    } catch {
      // The one thing that can be wrong; the library's words would quote the text.
      fail(
        offset,
        'a `%` is not followed by two hexadecimal digits that make UTF-8 text; write `%25` for a percent sign',
      );
      return '';
    }
  };
  const part = (start: number, end: number): Part => ({
    text: decode(text.slice(start, end), start),
    place: at(start),
  });

  const schemeEnd = /^[A-Za-z][\w+.-]*(?=:\/\/)/.exec(text)?.[0].length;
  const schemes: Part[] = [];
  let offset = 0;
  for (const one of schemeEnd === undefined ? [] : text.slice(0, schemeEnd).toLowerCase().split('+')) {
    schemes.push({ text: one, place: at(offset) });
    offset += one.length + 1;
  }

  const start = schemeEnd === undefined ? 0 : schemeEnd + 3;
  const authorityEnd = start + text.slice(start).search(/[/?]|$/);
  const question = text.indexOf('?', authorityEnd);
  const pathEnd = question === -1 ? text.length : question;
  const mark = text.slice(start, authorityEnd).lastIndexOf('@');
  let user: Part | undefined;
  let password: Part | undefined;
  if (mark !== -1) {
    const userinfo = text.slice(start, start + mark);
    const colon = userinfo.indexOf(':');
    user = part(start, start + (colon === -1 ? mark : colon));
    if (colon !== -1) password = part(start + colon + 1, start + mark);
  }
  return finish();

  function finish(): CliUrl | undefined {
    const url: CliUrl = {
      place: at(0),
      schemes,
      user,
      password,
      host: part(start + mark + 1, authorityEnd),
      path: part(authorityEnd, pathEnd),
      params: question === -1 ? [] : params(question + 1),
    };
    return report.errors.length > before ? undefined : url;
  }

  function params(from: number): Param[] {
    const found: Param[] = [];
    const seen = new Set<string>();
    let position = from;
    for (const pair of text.slice(from).split('&')) {
      const pairStart = position;
      position += pair.length + 1;
      if (pair === '') continue;
      const equals = pair.indexOf('=');
      const keyEnd = equals === -1 ? pair.length : equals;
      const valueStart = equals === -1 ? pair.length : equals + 1;
      const key = decode(pair.slice(0, keyEnd), pairStart);
      const raw = pair.slice(valueStart);
      // GOST takes the first of several; a rule in the others would be missing.
      if (seen.has(key.toLowerCase())) fail(pairStart, 'this parameter is given twice');
      seen.add(key.toLowerCase());
      found.push({
        key,
        keyPlace: at(pairStart),
        text: decode(raw.replaceAll('+', ' '), pairStart + valueStart),
        literal: raw.includes('%') ? decode(raw, pairStart + valueStart) : raw,
        place: at(pairStart + valueStart),
      });
    }
    return found;
  }
}

/** The parameters of a URL, each of which is taken by whoever knows it. */
export class Params {
  readonly #left: Map<string, Param>;

  constructor(params: readonly Param[]) {
    this.#left = new Map(params.map((param) => [param.key.toLowerCase(), param]));
  }

  /** The parameter with one of these names, which is then no longer left; capitals do not count. */
  take(...names: readonly string[]): Param | undefined {
    for (const name of names) {
      const found = this.#left.get(name.toLowerCase());
      if (found === undefined) continue;
      this.#left.delete(name.toLowerCase());
      return found;
    }
    return undefined;
  }

  /** What nobody has taken. */
  left(): readonly Param[] {
    return [...this.#left.values()];
  }
}

/** How many addresses the port ranges of one URL may stand for. */
const maxAddresses = 65_536;

/** Every address of a list with port ranges: `:8000-8010`, `a:1,b:2-3`. */
export function expandAddresses(list: Part, report: Report): readonly Part[] {
  const found: Part[] = [];
  for (const text of list.text.split(',')) {
    if (text === '') continue;
    const range = /^(.*):(\d{1,5})-(\d{1,5})$/.exec(text);
    if (range === null) {
      found.push({ text, place: list.place });
      continue;
    }
    const [low, high] = [Number(range[2]), Number(range[3])];
    if (low > high || high > 65_535 || found.length + high - low >= maxAddresses) {
      report.error(
        list.place,
        '',
        high > 65_535 || low > high
          ? 'a port range goes from the lower port to the higher one, such as `:8000-8010`'
          : `these ranges stand for more than ${String(maxAddresses)} addresses`,
      );
      return [];
    }
    for (let port = low; port <= high; port++)
      found.push({ text: `${range[1]!}:${String(port)}`, place: list.place });
  }
  return found;
}
