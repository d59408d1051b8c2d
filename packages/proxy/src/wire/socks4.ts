import { isUtf8 } from 'node:buffer';
import { malformed, unsayable } from './fault.ts';
import { formatIp, parseIp } from './ip.ts';
import { formatHostName, formatPort, parseHostName } from './socks-address.ts';
import type { SocksAddress } from './socks-address.ts';
import type { Parsed } from './wire-reader.ts';

/** What a client may ask for. */
export const socks4Commands = { connect: 1, bind: 2 } as const;

/** What a server may answer. */
export const socks4Codes = {
  granted: 90,
  /** Rejected or failed, whatever the reason. */
  rejected: 91,
  /** The original: no identd at the client. GOST: the target is not allowed. */
  notAllowed: 92,
  /** The user id is not accepted. */
  wrongUser: 93,
} as const;

/** A request of SOCKS4, or of SOCKS4a, whose host is a name. */
export interface Socks4Request {
  readonly command: number;
  readonly address: SocksAddress;
  readonly userId: string;
}

/** An answer: a code of {@link socks4Codes} or another number. `bound` has a meaning for `bind` only. */
export interface Socks4Reply {
  readonly code: number;
  readonly bound: SocksAddress;
}

const version = 4;

/** The protocol sets no limit; this one is that of user names and host names elsewhere. */
const maxTextBytes = 255;

const headLength = 8;
const replyLength = 8;

/**
 * Reads a request, at most 520 bytes: the user id and SOCKS4a's name may have 255 bytes each. Neither the command nor port 0 is
 * judged. Throws `malformedRequest`.
 */
export function parseSocks4Request(bytes: Buffer): Parsed<Socks4Request> | undefined {
  if (bytes.length > 0 && bytes[0] !== version) {
    throw malformed('client', `this is no SOCKS4: it begins with ${String(bytes[0])} instead of 4`);
  }
  if (bytes.length < headLength) return undefined;
  const userEnd = textEnd(bytes, headLength, 'the user id');
  if (userEnd === undefined) return undefined;
  const user = bytes.subarray(headLength, userEnd);
  if (!isUtf8(user)) throw malformed('client', 'the user id is not UTF-8');
  const command = bytes[1]!;
  const port = bytes.readUInt16BE(2);
  const userId = user.toString();
  // 0.0.0.x with x other than 0 is no address of a host: SOCKS4a's mark for a name that follows.
  const named = bytes[4] === 0 && bytes[5] === 0 && bytes[6] === 0 && bytes[7] !== 0;
  if (!named) {
    const host = formatIp(bytes.subarray(4, headLength));
    return { message: { command, address: { host, port }, userId }, length: userEnd + 1 };
  }
  const nameEnd = textEnd(bytes, userEnd + 1, 'the name of the host');
  if (nameEnd === undefined) return undefined;
  const name = bytes.subarray(userEnd + 1, nameEnd);
  if (name.length === 0) throw malformed('client', 'the name of the host is empty');
  const host = parseHostName(name, 'client');
  return { message: { command, address: { host, port }, userId }, length: nameEnd + 1 };
}

/**
 * Writes what {@link parseSocks4Request} reads: SOCKS4 for an IPv4 address, SOCKS4a for a name. Throws `unsupported` for an
 * IPv6 address, which neither has room for, and for a text of more than 255 bytes.
 */
export function formatSocks4Request({ command, address: { host, port }, userId }: Socks4Request): Buffer {
  const ip = parseIp(host);
  if (ip?.length === 16 || host.includes(':')) {
    throw unsayable(`SOCKS4 cannot ask for the IPv6 address ${host}`);
  }
  // The mark of SOCKS4a, which such an address would be taken for.
  const mark = Buffer.from([0, 0, 0, 1]);
  if (ip?.readUIntBE(0, 3) === 0 && ip[3] !== 0) throw unsayable(`SOCKS4 cannot ask for the address ${host}`);
  const user = Buffer.from(userId);
  if (user.length > maxTextBytes || user.includes(0)) {
    throw unsayable('a user id of SOCKS4 has at most 255 bytes, none of them zero');
  }
  const zero = Buffer.from([0]);
  return Buffer.concat([
    Buffer.from([version, octet(command)]),
    formatPort(port),
    ip ?? mark,
    user,
    zero,
    ...(ip === undefined ? [formatHostName(host), zero] : []),
  ]);
}

/** Reads an answer, 8 bytes. Throws `badUpstreamReply`. */
export function parseSocks4Reply(bytes: Buffer): Parsed<Socks4Reply> | undefined {
  if (bytes.length > 0 && bytes[0] !== 0) {
    throw malformed(
      'upstream',
      `this is no answer of SOCKS4: it begins with ${String(bytes[0])} instead of 0`,
    );
  }
  if (bytes.length < replyLength) return undefined;
  const bound = { host: formatIp(bytes.subarray(4, replyLength)), port: bytes.readUInt16BE(2) };
  return { message: { code: bytes[1]!, bound }, length: replyLength };
}

/** Writes what {@link parseSocks4Reply} reads. Without an address that says `0.0.0.0:0`, as answers to `connect` do. */
export function formatSocks4Reply(code: number, bound: SocksAddress = { host: '0.0.0.0', port: 0 }): Buffer {
  const ip = parseIp(bound.host);
  if (ip?.length !== 4) throw unsayable(`an answer of SOCKS4 cannot hold the address ${bound.host}`);
  return Buffer.concat([Buffer.from([0, octet(code)]), formatPort(bound.port), ip]);
}

/** Where a text ends that begins at `from` and is followed by a zero; undefined while that has not come. */
function textEnd(bytes: Buffer, from: number, what: string): number | undefined {
  const end = bytes.indexOf(0, from);
  if ((end < 0 ? bytes.length : end) - from > maxTextBytes) {
    throw malformed('client', `${what} has more than ${String(maxTextBytes)} bytes`);
  }
  return end < 0 ? undefined : end;
}

function octet(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 255)
    throw unsayable(`${String(value)} does not fit a byte`);
  return value;
}
