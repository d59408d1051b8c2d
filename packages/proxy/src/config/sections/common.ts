import { isIP } from 'node:net';
import { parseIp, parseNetwork } from '../../core/match/ip.ts';
import { credential, filled, list, mapping, optional, required, text, wrongType } from '../../schema/read.ts';
import type { Reader } from '../../schema/read.ts';
import { gostKeys } from '../gost-names.ts';

/** What a reader answers. */
export type Of<R> = R extends Reader<infer T> ? T : never;

/** The keys of GOST's mapping that are not among those served. */
export const others = (all: readonly string[], ...served: readonly string[]): string[] =>
  all.filter((key) => !served.some((one) => one.toLowerCase() === key.toLowerCase()));

/** A name by which one thing calls another. */
export const name = filled(text('a name'));

/** Names, at least one. */
export const names: Reader<readonly string[]> = (value, path, reading) => {
  const found = list(name)(value, path, reading);
  if (value.kind === 'list' && value.items.length === 0) {
    reading.report.error(value.place, path, 'is empty; name somebody or remove the key');
  }
  return found;
};

/** Addresses and networks; one text may hold several, separated by commas. */
export const networks: Reader<readonly string[]> = (value, path, reading) => {
  const written = list(text('an address or a network'))(value, path, reading);
  const each = written?.flatMap((one) => one.split(',')).map((one) => one.trim());
  if (each?.every((one) => parseIp(one) !== undefined || parseNetwork(one) !== undefined) === false)
    reading.report.error(value.place, path, 'expected IP addresses or networks such as `10.0.0.0/8`');
  return each;
};

/** A user name and a password, both of which must be there: GOST takes an empty one for "everybody". */
export const credentials = mapping(
  {
    username: required(filled(credential('a user name'))),
    password: required(filled(credential('a password'))),
  },
  { unserved: others(gostKeys.auth, 'username', 'password'), secret: true },
);

const userOnly = mapping(
  {
    username: required(filled(credential('a user name'))),
    password: optional(credential('a password')),
  },
  { unserved: others(gostKeys.auth, 'username', 'password'), secret: true },
);

/** Whom a protocol without passwords is told that we are; the password may be left out, and is empty then. */
export const userWithoutPassword: typeof credentials = (value, path, reading) => {
  const found = userOnly(value, path, reading);
  return found && { ...found, password: found.password ?? '' };
};

/** A host and a port, or the path of a unix socket. */
export interface WrittenAddress {
  /** Empty: every address of this machine. A path begins with `/`, `.` or `@`. */
  readonly host: string;
  /** 0: one that the system chooses, or none for a path. */
  readonly port: number;
}

const hostAndPort = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^:[\]\s/]*)):(\d{1,5})$/;

/** Reads `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; undefined where it is none. */
function parseHostAndPort(written: string): WrittenAddress | undefined {
  const match = hostAndPort.exec(written);
  const port = Number(match?.[3]);
  return match !== null && port <= 65535 ? { host: match[1] ?? match[2] ?? '', port } : undefined;
}

/** An address to listen on. */
export const listenAddress: Reader<WrittenAddress> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined) return undefined;
  const found = parseHostAndPort(written) ?? parsePath(written);
  if (found !== undefined) return found;
  const hint = /^\d{1,5}$/.test(written) ? `; write \`":${written}"\`` : '';
  reading.report.error(
    value.place,
    path,
    `expected an address to listen on such as \`":8080"\` or \`"127.0.0.1:8080"\`${hint}`,
  );
  return undefined;
};

/** An address to connect to: a host and a port that is not 0, or the path of a unix socket. */
export const dialAddress: Reader<WrittenAddress> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined) return undefined;
  const found = parseHostAndPort(written);
  // `:8080` is this machine, as in GOST.
  if (found !== undefined && found.port > 0)
    return found.host === '' ? { ...found, host: '127.0.0.1' } : found;
  const socket = parsePath(written);
  if (socket !== undefined) return socket;
  return wrongType(value, path, reading, dialAddressForm);
};

/** What is said of what is no {@link dialAddress}. */
export const dialAddressForm = 'an address such as `"10.0.0.1:8080"` or `"example.com:443"`';

/** An address to connect to, or, with port 0, a gateway of a router's network: a name or an IP address without a port. */
export const forwardAddress: Reader<WrittenAddress> = (value, path, reading) => {
  const written = value.kind === 'scalar' ? value.text : '';
  const isGateway = isIP(written) !== 0 || (!/^\d*$/.test(written) && /^\w[\w.-]*$/.test(written));
  return isGateway ? { host: written, port: 0 } : dialAddress(value, path, reading);
};

function parsePath(written: string): WrittenAddress | undefined {
  return /^(\/|\.\.?\/|@)[^\0]+$/.test(written) ? { host: written, port: 0 } : undefined;
}
