import { didYouMean } from '../schema/nearest.ts';
import type { Entry, Value } from '../schema/parse.ts';
import type { Reading } from '../schema/read.ts';
import { mappingOf, mappingOrNothing, plain, scalar } from './cli-tree.ts';
import type { CliUrl, Param, Params, Part } from './cli-url.ts';
import { gostTypes } from './gost-names.ts';
import { keysOf, servedTypes } from './sections/blocks.ts';
import type { KnownMetadata } from './sections/blocks.ts';

/**
 * What is left of a URL's parameters, for the `metadata` of the blocks that know them. GOST copies each to all blocks; here
 * it goes where it means something, and what means nothing anywhere is an error with the nearest known name. With the name of
 * a block before it (`handler.readTimeout`) a parameter is for that block alone. `own` are the names that were taken before.
 */
export function spreadParams<B extends string>(
  params: Params,
  blocks: Readonly<Record<B, KnownMetadata>>,
  own: readonly string[],
  { report, lenient }: Reading,
): Readonly<Record<B, readonly Entry[]>> {
  const names = Object.keys(blocks) as B[];
  const found = Object.fromEntries(names.map((name) => [name, [] as Entry[]])) as Record<B, Entry[]>;
  const known = new Map(names.map((name) => [name, keysOf(blocks[name].fields)]));
  const has = (keys: readonly string[], key: string) =>
    keys.some((one) => one.toLowerCase() === key.toLowerCase());
  for (const param of params.left()) {
    const { key, keyPlace } = param;
    const entry = (name: string): Entry => ({ key: name, place: keyPlace, value: scalar(param) });
    const block = names.find((name) => key.toLowerCase().startsWith(`${name}.`));
    if (block !== undefined) {
      // What it may be there is said by whoever reads the block.
      found[block].push(entry(key.slice(block.length + 1)));
      continue;
    }
    const takers = names.filter((name) => has(known.get(name)!, key));
    for (const name of takers) found[name].push(entry(key));
    if (takers.length > 0) continue;
    if (names.some((name) => has(blocks[name].unserved, key))) {
      report.error(keyPlace, '', `GOST's parameter \`${key}\` is not served by this version`);
      continue;
    }
    const shown = /^[A-Za-z_][\w.-]{0,39}$/.test(key) ? ` \`${key}\`` : '';
    const message = `unknown parameter${shown}${didYouMean(key, [...own, ...[...known.values()].flat()])}`;
    if (lenient) report.warn(keyPlace, '', `${message} (ignored, --lenient)`);
    else report.error(keyPlace, '', message);
  }
  return found;
}

/** A user and a password: before the `@`, or GOST's `auth=` in base64. */
export function credentialsOf(url: CliUrl, params: Params, { report }: Reading): Value | undefined {
  const written = params.take('auth');
  if (url.user !== undefined) {
    return mappingOrNothing(url.user.place, {
      username: scalar(url.user),
      password: url.password && scalar(url.password),
    });
  }
  if (written === undefined) return undefined;
  const { literal, place } = written;
  const bytes = /^[\w+/-]+={0,2}$/.test(literal) ? Buffer.from(literal, 'base64').toString('utf8') : '';
  const colon = bytes.indexOf(':');
  if (colon === -1) {
    report.error(place, '', '`auth` is `user:password` in base64');
    return undefined;
  }
  const part = (text: string) => scalar({ text, place });
  return mappingOrNothing(place, {
    username: part(bytes.slice(0, colon)),
    password: part(bytes.slice(colon + 1)),
  });
}

/** `certFile`, `keyFile` and `caFile` with GOST's short forms, and the further keys, as a `tls` block. */
export function tlsOf(params: Params, further: readonly string[]): Value | undefined {
  const take = (key: string, ...aliases: string[]) => {
    const found = params.take(`tls.${key}`, key, ...aliases);
    return found && plain(found);
  };
  const values = {
    certFile: take('certFile', 'cert'),
    keyFile: take('keyFile', 'key'),
    caFile: take('caFile', 'ca'),
    ...Object.fromEntries(further.map((key) => [key, take(key)])),
  };
  const first = Object.values(values).find((value) => value !== undefined);
  return first && mappingOf(first.place, values);
}

/** `strategy`, `maxFails`, `failTimeout` as a `selector`. */
export function selectorOf(params: Params): Value | undefined {
  const taken = {
    strategy: params.take('strategy'),
    maxFails: params.take('maxFails'),
    failTimeout: params.take('failTimeout'),
  };
  const first = taken.strategy ?? taken.maxFails ?? taken.failTimeout;
  if (first === undefined) return undefined;
  // GOST's default on the command line is not that of a file; a number alone is seconds here.
  const failTimeout = taken.failTimeout?.text ?? '30s';
  return mappingOrNothing(first.place, {
    strategy: taken.strategy && scalar(taken.strategy),
    maxFails: taken.maxFails && plain(taken.maxFails),
    failTimeout: scalar({
      text: /^\d+$/.test(failTimeout) ? `${failTimeout}s` : failTimeout,
      place: (taken.failTimeout ?? first).place,
    }),
  });
}

/** One word of a scheme for each of two sides. Undefined, and reported, where a word means nothing. */
export function sidesOf(
  url: CliUrl,
  above: 'handler' | 'connector',
  below: 'listener' | 'dialer',
  none: string,
  { report }: Reading,
): { readonly above: Part; readonly below: Part } | undefined {
  const [first = { text: 'auto', place: url.place }, second, third] = url.schemes;
  const upper: readonly string[] = gostTypes[above];
  const lower: readonly string[] = gostTypes[below];
  const fail = (part: Part, message: string): undefined => {
    report.error(part.place, '', message);
  };
  if (third !== undefined) return fail(third, `a scheme is at most a ${above} and a ${below}: \`http+tls\``);
  const unknown = (part: Part, words: readonly string[]) =>
    fail(part, `unknown scheme \`${part.text}\`${didYouMean(part.text, [...words, 'https'])}`);
  const auto = { text: none, place: first.place };
  if (second === undefined) {
    // GOST's word for two.
    if (first.text === 'https')
      return { above: { ...first, text: 'http' }, below: { ...first, text: 'tls' } };
    const known = { above: upper.includes(first.text), below: lower.includes(first.text) };
    if (!known.above && !known.below && first.text !== 'auto') return unknown(first, [...upper, ...lower]);
    const plain = { ...first, text: first.text === 'ssu' ? 'udp' : 'tcp' };
    return { above: known.above ? first : auto, below: known.below ? first : plain };
  }
  if (!upper.includes(first.text) && first.text !== 'auto') return unknown(first, upper);
  if (!lower.includes(second.text)) return unknown(second, lower);
  return { above: upper.includes(first.text) ? first : auto, below: second };
}

/** Reports a word of GOST's that this version does not serve; true where it serves it. */
export function isServed(
  kind: keyof typeof servedTypes,
  { text, place }: Part,
  { report }: Reading,
): boolean {
  const served: readonly string[] = servedTypes[kind];
  if (served.includes(text)) return true;
  report.error(
    place,
    '',
    `GOST's ${kind} \`${text}\` is not served by this version; served: ${served.join(', ')}`,
  );
  return false;
}

/** The address of a unix socket as the file has it: one that is not absolute begins with `./`. */
export function socketPath(part: Part): Part {
  return /^(\/|\.\.?\/|@|$)/.test(part.text) ? part : { ...part, text: `./${part.text}` };
}

/** Warns of a parameter that changes nothing. */
export function warnUnused(param: Param | undefined, why: string, { report }: Reading): void {
  if (param !== undefined) report.warn(param.keyPlace, '', `\`${param.key}\` has no effect: ${why}`);
}
