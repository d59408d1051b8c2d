import { formatAddress, canonicalTarget } from '../address.ts';
import { ProxyError } from '../errors.ts';
import { createIpSet } from '../match/ip-set.ts';
import { formatIp, ipOfPeer, networkOfOne, parseIp, parseNetwork } from '../match/ip.ts';
import type { RouteRequest } from '../route.ts';
import { didYouMean } from '../../schema/nearest.ts';
import { headerValues, hostOf, pathOf, queryValues } from './facts.ts';
import { createRegexp } from './regexp.ts';

/** What is wrong with one argument of a function. Caught by whoever reads the rule, who knows where it stands. */
export class ArgumentError extends TypeError {
  /** Which one, from 0. */
  readonly index: number;

  constructor(index: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.index = index;
  }
}

/** What a call of a function comes to: a test of a request, or a question to a module of the file. */
export type Reading =
  | { readonly kind: 'test'; readonly test: (request: RouteRequest) => boolean }
  | { readonly kind: 'bypass'; readonly name: string; about(request: RouteRequest): string }
  | { readonly kind: 'admission'; readonly name: string; about(request: RouteRequest): string | undefined };

/** One function of the language. */
interface RuleFunction {
  /** How many arguments it takes. */
  readonly takes: readonly number[];
  /** Reads them; none is empty. Throws {@link ArgumentError}. */
  read(args: readonly string[]): Reading;
}

/** The longest text that a pattern is held against, in characters. The search takes time for each. */
const maxSearched = 8192;

const hostFunction: RuleFunction = {
  takes: [1],
  read([written]) {
    const text = written!.trim().toLowerCase();
    // As in GOST: `*.x`, `*x` and `.x` are all what is below x, and not x itself.
    const below = /^[*.]/.test(text);
    const name = below ? text.replace(/^\*?\.?/, '') : text;
    if (name === '') throw new ArgumentError(0, 'names no host; for every host leave the function out');
    if (name.includes('*'))
      throw new ArgumentError(0, 'a `*` stands only in front; use `HostRegexp` for other patterns');
    const host = readHost(name);
    return below
      ? testOf((request) => hostOf(request).endsWith(`.${host}`))
      : testOf((request) => hostOf(request) === host);
  },
};

const clientFunction: RuleFunction = {
  takes: [1],
  read([written]) {
    const ip = parseIp(written!);
    const network = ip === undefined ? parseNetwork(written!) : networkOfOne(ip);
    if (network === undefined) throw new ArgumentError(0, 'is neither an IP address nor a network');
    const set = createIpSet<true>();
    set.add(network, true);
    return testOf(({ client }) => {
      const from = ipOfPeer(client.host);
      return from !== undefined && set.broadest(from) === true;
    });
  },
};

/** What GOST's sniffing tells apart, and what of it a node can be chosen by here. */
const protocols = ['http', 'tls', 'ssh', 'redis'];

/**
 * The protocol that a filter or `Proto` names, in lower case. Throws TypeError for one that no request is ever found to
 * be, which would keep a node from ever being chosen.
 */
export function readProtocol(written: string): string {
  const name = written.toLowerCase();
  if (protocols.includes(name)) return name;
  if (name === 'quic')
    throw new TypeError(
      "GOST's protocol `quic` is not served by this version, which does not look into QUIC",
    );
  throw new TypeError(`unknown protocol${didYouMean(name, protocols)}; known: ${protocols.join(', ')}`);
}

/** The functions of the language, as GOST spells them. */
export const functions = {
  ClientIP: clientFunction,
  Network: {
    takes: [1],
    read([written]) {
      const start = written!.toLowerCase();
      if (!['tcp', 'udp'].some((network) => network.startsWith(start)))
        throw new ArgumentError(0, 'no network begins so; known: tcp, udp');
      return testOf(({ network }) => network.startsWith(start));
    },
  },
  Proto: {
    takes: [1],
    read([written]) {
      const protocol = atArgument(0, () => readProtocol(written!));
      return testOf(({ seen }) => seen?.protocol === protocol);
    },
  },
  Host: hostFunction,
  HostRegexp: {
    takes: [1],
    read([pattern]) {
      if (/[^\0-\x7f]/.test(pattern!))
        throw new ArgumentError(0, 'holds letters that a host has only encoded (`xn--`)');
      return searchOf(0, pattern!, (request) => [hostOf(request)]);
    },
  },
  Method: {
    takes: [1],
    read([written]) {
      const method = written!.toUpperCase();
      return testOf(({ seen }) => seen?.method === method);
    },
  },
  Path: {
    takes: [1],
    read([written]) {
      const path = readPath(written!);
      return testOf((request) => pathOf(request) === path);
    },
  },
  PathPrefix: {
    takes: [1],
    read([written]) {
      const start = readPath(written!);
      return testOf((request) => pathOf(request).startsWith(start));
    },
  },
  PathRegexp: {
    takes: [1],
    read: ([pattern]) => searchOf(0, pattern!, (request) => [pathOf(request)]),
  },
  Header: {
    takes: [1, 2, 3],
    read: ([name, ...more]) => valuesOf(more, headersNamed(name!)),
  },
  HeaderRegexp: {
    takes: [1, 2],
    read: ([name, pattern]) => searchedOf(pattern, headersNamed(name!)),
  },
  Query: {
    takes: [1, 2, 3],
    read: ([name, ...more]) => valuesOf(more, (request) => queryValues(request, name!)),
  },
  QueryRegexp: {
    takes: [1, 2],
    read: ([name, pattern]) => searchedOf(pattern, (request) => queryValues(request, name!)),
  },
  Bypass: {
    takes: [1],
    read: ([name]) => ({
      kind: 'bypass',
      name: name!,
      // GOST asks about the host with the port that it came with; empty where nothing is known.
      about: ({ seen, host }) => {
        if (seen !== undefined && seen.authority !== '') return seen.authority;
        return host === undefined ? '' : formatAddress(host);
      },
    }),
  },
  Admission: {
    takes: [1],
    read: ([name]) => ({
      kind: 'admission',
      name: name!,
      about: ({ client }) => {
        const ip = ipOfPeer(client.host);
        return ip === undefined ? undefined : formatIp(ip);
      },
    }),
  },
} satisfies Readonly<Record<string, RuleFunction>>;

export type FunctionName = keyof typeof functions;

function testOf(test: (request: RouteRequest) => boolean): Reading {
  return { kind: 'test', test };
}

function atArgument<T>(index: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new ArgumentError(index, error.message, error);
  }
}

/** In the one spelling that targets have. */
function readHost(name: string): string {
  const bare = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  try {
    return canonicalTarget({ host: bare, port: 1 }).host;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    throw new ArgumentError(0, 'is no host name; it has no port and no path', error);
  }
}

function readPath(written: string): string {
  if (written.startsWith('/')) return written;
  throw new ArgumentError(0, 'a path begins with `/`');
}

type Values = (request: RouteRequest) => readonly string[];

function headersNamed(name: string): Values {
  const lower = name.toLowerCase();
  return (request) => headerValues(request, lower);
}

const comparisons = {
  gt: (a: number, b: number) => a > b,
  ge: (a: number, b: number) => a >= b,
  lt: (a: number, b: number) => a < b,
  le: (a: number, b: number) => a <= b,
  eq: (a: number, b: number) => a === b,
  ne: (a: number, b: number) => a !== b,
};

/** Whether any value is there, is the one that is wanted, or compares as wanted; `more` stands behind the name. */
function valuesOf([first, second]: readonly string[], values: Values): Reading {
  if (first === undefined) return testOf((request) => values(request).length > 0);
  if (second === undefined) return testOf((request) => values(request).includes(first));
  if (!Object.hasOwn(comparisons, first))
    throw new ArgumentError(1, `no comparison; known: ${Object.keys(comparisons).join(', ')}`);
  const compare = comparisons[first as keyof typeof comparisons];
  const wanted = readNumber(second);
  if (wanted === undefined) throw new ArgumentError(2, 'is no number');
  return testOf((request) =>
    values(request).some((value) => {
      const number = readNumber(value);
      return number !== undefined && compare(number, wanted);
    }),
  );
}

function readNumber(text: string): number | undefined {
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?$/.test(text) ? Number(text) : undefined;
}

/** Whether any value is there or, with a pattern, is matched by it. */
function searchedOf(pattern: string | undefined, values: Values): Reading {
  return pattern === undefined
    ? testOf((request) => values(request).length > 0)
    : searchOf(1, pattern, values);
}

function searchOf(index: number, pattern: string, values: Values): Reading {
  const regexp = atArgument(index, () => createRegexp(pattern));
  return testOf((request) =>
    values(request).some((value) => {
      // What is not looked at neither matches nor does not.
      if (value.length > maxSearched) throw tooLong();
      return regexp.test(value);
    }),
  );
}

function tooLong(): ProxyError {
  return new ProxyError(
    'requestTooLarge',
    'client',
    `a path, query or header that a rule's pattern is held against is longer than ${String(maxSearched)} characters`,
    { status: 431 },
  );
}
