import { isIP } from 'node:net';
import {
  durationMs,
  filled,
  flag,
  mapping,
  optional,
  present,
  required,
  sections,
  text,
  word,
  wrongType,
} from '../../schema/read.ts';
import type { Reader } from '../../schema/read.ts';
import { parseNameserver } from './address.ts';
import type { NameserverAddress } from './address.ts';

const address: Reader<NameserverAddress> = (value, path, reading) => {
  const written = filled(text('an address such as `1.1.1.1:53` or `https://dns.example/dns-query`'))(
    value,
    path,
    reading,
  );
  if (written === undefined) return undefined;
  try {
    return parseNameserver(written);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    reading.report.error(value.place, path, error.message);
    return undefined;
  }
};

/** Below zero, whatever it is, means: never remembered; so no unit is asked for there. */
const ttlMs: Reader<number> = (value, path, reading) => {
  if (value.kind !== 'scalar' || !value.text.startsWith('-')) return durationMs()(value, path, reading);
  if (/^-\d+$/.test(value.text)) return -1;
  const ms = durationMs()({ ...value, text: value.text.slice(1) }, path, reading);
  return ms === undefined ? undefined : -1;
};

/** GOST skips an address that is none, and then nobody is told where the client is. */
const clientIp: Reader<string> = (value, path, reading) => {
  const written = text('an IP address')(value, path, reading);
  if (written === undefined || (isIP(written) !== 0 && !written.includes('%'))) return written;
  return wrongType(value, path, reading, 'an IP address');
};

const timeoutMs: Reader<number> = (value, path, reading) => {
  const ms = durationMs()(value, path, reading);
  // Zero is GOST's way to say: as always.
  return ms === 0 ? undefined : ms;
};

const nameserverFields = mapping({
  address: { ...required(address), key: 'addr' },
  chain: present(filled(text('a name'))),
  prefer: optional(word('address family', ['ipv4', 'ipv6'])),
  only: optional(word('address family', ['ipv4', 'ipv6'])),
  clientIP: optional(clientIp),
  hostname: optional(filled(text('a host name'))),
  ttlMs: optional(ttlMs, 'ttl'),
  timeoutMs: optional(timeoutMs, 'timeout'),
  async: optional(flag()),
});

type NameserverFields = typeof nameserverFields extends Reader<infer T> ? T : never;

const nameserver: Reader<NameserverFields> = (value, path, reading) => {
  const found = nameserverFields(value, path, reading);
  const scheme = found?.address?.scheme;
  if (found?.hostname !== undefined && (scheme === 'udp' || scheme === 'tcp')) {
    reading.report.warn(
      found.keyAt('hostname'),
      `${path}.hostname`,
      'is not used: only tls:// and https:// look for a name in a certificate',
    );
  }
  if (found?.only !== undefined && found.prefer !== undefined && found.only !== found.prefer) {
    reading.report.warn(
      found.keyAt('prefer'),
      `${path}.prefer`,
      `is not used, because \`only\` says ${found.only}`,
    );
  }
  return found;
};

const nameservers: Reader<readonly NameserverFields[]> = (value, path, reading) => {
  const found = sections(nameserver)(value, path, reading);
  if (value.kind === 'list' && value.items.length === 0) {
    reading.report.error(value.place, path, 'is empty, so that no name could be looked up; add an entry');
  }
  return found;
};

/**
 * The keys of a `resolvers` entry that are the built-in's; its `name` and `plugin` are whoever's reads the section. Each
 * nameserver is what {@link createResolver} takes, once the `chain` that it names has become its `dialTcp`.
 */
export const resolverFields = { nameservers: present(nameservers) };
