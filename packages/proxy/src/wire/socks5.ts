import { isUtf8 } from 'node:buffer';
import { malformed, unsayable } from './fault.ts';
import type { WireSide } from './fault.ts';
import { formatSocksAddress, parseSocksAddress } from './socks-address.ts';
import type { SocksAddress } from './socks-address.ts';
import type { Parsed } from './wire-reader.ts';

/** How a client may prove itself (RFC 1928, section 3). `tls` and `tlsUserPass` are GOST's: TLS begins, and the rest goes on inside. */
export const socks5Methods = {
  noAuth: 0x00,
  userPass: 0x02,
  tls: 0x80,
  tlsUserPass: 0x82,
  /** The server accepts none of those that were offered. */
  none: 0xff,
} as const;

/** What a client may ask for (RFC 1928, section 4). `muxBind` and `udpTunnel` (datagrams over the connection itself) are GOST's. */
export const socks5Commands = {
  connect: 0x01,
  bind: 0x02,
  udpAssociate: 0x03,
  muxBind: 0xf2,
  udpTunnel: 0xf3,
} as const;

/** What a server may answer (RFC 1928, section 6). */
export const socks5Codes = {
  succeeded: 0,
  generalFailure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  ttlExpired: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const;

/** The statuses of RFC 1929; every status but 0 is a no. */
export const socks5AuthStatus = { accepted: 0, refused: 1 } as const;

const version = 5;
const authVersion = 1;

/** A request: a command of {@link socks5Commands} or a number that is not known here, and its address. */
export interface Socks5Request {
  readonly command: number;
  readonly address: SocksAddress;
}

/** An answer: a code of {@link socks5Codes} or another number, and the address that the server uses for it. */
export interface Socks5Reply {
  readonly code: number;
  readonly bound: SocksAddress;
}

/** What a client proves itself with (RFC 1929). */
export interface Socks5Credentials {
  readonly username: string;
  readonly password: string;
}

/** Reads a client's first message, the methods that it offers: at most 257 bytes. Throws `malformedRequest`. */
export function parseSocks5Offer(bytes: Buffer): Parsed<readonly number[]> | undefined {
  checkVersion(bytes, 'client');
  const count = bytes[1];
  if (count === 0) throw malformed('client', 'the client offers no method of authentication');
  if (count === undefined || bytes.length < 2 + count) return undefined;
  return { message: [...bytes.subarray(2, 2 + count)], length: 2 + count };
}

/** Writes what {@link parseSocks5Offer} reads. Throws `unsupported` for none or more than 255 methods. */
export function formatSocks5Offer(methods: readonly number[]): Buffer {
  if (methods.length === 0 || methods.length > 255) {
    throw unsayable(`${String(methods.length)} methods of authentication cannot be offered`);
  }
  return Buffer.from([version, methods.length, ...methods.map((method) => octet(method, 'a method'))]);
}

/** Reads the server's choice of a method, 2 bytes. Throws `badUpstreamReply`. */
export function parseSocks5Choice(bytes: Buffer): Parsed<number> | undefined {
  checkVersion(bytes, 'upstream');
  const method = bytes[1];
  return method === undefined ? undefined : { message: method, length: 2 };
}

/** Writes what {@link parseSocks5Choice} reads. */
export function formatSocks5Choice(method: number): Buffer {
  return Buffer.from([version, octet(method, 'a method')]);
}

/**
 * Reads a user name and a password (RFC 1929, section 2), at most 513 bytes. Both may be empty, as with most servers: it is
 * for the auther to say no. Throws `malformedRequest`, also where they are not UTF-8, the only text that a plugin can be sent.
 */
export function parseSocks5Credentials(bytes: Buffer): Parsed<Socks5Credentials> | undefined {
  checkAuthVersion(bytes, 'client');
  const nameLength = bytes[1];
  if (nameLength === undefined) return undefined;
  const passwordLength = bytes[2 + nameLength];
  if (passwordLength === undefined) return undefined;
  const from = 3 + nameLength;
  const length = from + passwordLength;
  if (bytes.length < length) return undefined;
  const [name, password] = [bytes.subarray(2, 2 + nameLength), bytes.subarray(from, length)];
  if (!isUtf8(name) || !isUtf8(password)) throw malformed('client', 'the credentials are not UTF-8');
  return { message: { username: name.toString(), password: password.toString() }, length };
}

/** Writes what {@link parseSocks5Credentials} reads. Throws `unsupported` for more than 255 bytes of either. */
export function formatSocks5Credentials({ username, password }: Socks5Credentials): Buffer {
  const [name, secret] = [Buffer.from(username), Buffer.from(password)];
  if (name.length > 255 || secret.length > 255) {
    throw unsayable('SOCKS5 has room for 255 bytes of user name and 255 of password');
  }
  return Buffer.concat([Buffer.from([authVersion, name.length]), name, Buffer.from([secret.length]), secret]);
}

/** Reads the server's answer to credentials, 2 bytes: a status, 0 for yes. Throws `badUpstreamReply`. */
export function parseSocks5AuthStatus(bytes: Buffer): Parsed<number> | undefined {
  checkAuthVersion(bytes, 'upstream');
  const status = bytes[1];
  return status === undefined ? undefined : { message: status, length: 2 };
}

/** Writes what {@link parseSocks5AuthStatus} reads. */
export function formatSocks5AuthStatus(status: number): Buffer {
  return Buffer.from([authVersion, octet(status, 'a status')]);
}

/**
 * Reads a request (RFC 1928, section 4), at most 262 bytes. The command is not judged, nor is port 0. Throws
 * `malformedRequest`, and `unsupported` for an unknown kind of address.
 */
export function parseSocks5Request(bytes: Buffer): Parsed<Socks5Request> | undefined {
  const parsed = parseCommon(bytes, 'client');
  if (parsed === undefined) return undefined;
  const { first: command, address, length } = parsed;
  return { message: { command, address }, length };
}

/** Writes what {@link parseSocks5Request} reads. Throws `unsupported` for what it has no room for. */
export function formatSocks5Request({ command, address }: Socks5Request): Buffer {
  return Buffer.concat([Buffer.from([version, octet(command, 'a command'), 0]), formatSocksAddress(address)]);
}

/**
 * Reads an answer (RFC 1928, section 6), at most 262 bytes. An empty name stands for "unspecified", `0.0.0.0`, because servers
 * that have no address to tell write that too. Throws `badUpstreamReply`.
 */
export function parseSocks5Reply(bytes: Buffer): Parsed<Socks5Reply> | undefined {
  const parsed = parseCommon(bytes, 'upstream');
  if (parsed === undefined) return undefined;
  const { first: code, address: bound, length } = parsed;
  return { message: { code, bound }, length };
}

/** Writes what {@link parseSocks5Reply} reads. Without an address that says `0.0.0.0:0`, as failures do. */
export function formatSocks5Reply(code: number, bound: SocksAddress = { host: '0.0.0.0', port: 0 }): Buffer {
  return Buffer.concat([Buffer.from([version, octet(code, 'a code'), 0]), formatSocksAddress(bound)]);
}

/** What requests and answers have in common: version, a number, a reserved zero, an address. */
function parseCommon(
  bytes: Buffer,
  side: WireSide,
): { first: number; address: SocksAddress; length: number } | undefined {
  checkVersion(bytes, side);
  const first = bytes[1];
  if (bytes.length > 2 && bytes[2] !== 0) throw malformed(side, 'the reserved byte is not zero');
  if (first === undefined || bytes.length < 4) return undefined;
  // The empty name of an answer; see parseSocks5Reply.
  if (side === 'upstream' && bytes[3] === 3 && bytes[4] === 0) {
    if (bytes.length < 7) return undefined;
    return { first, address: { host: '0.0.0.0', port: bytes.readUInt16BE(5) }, length: 7 };
  }
  const address = parseSocksAddress(bytes.subarray(3), side);
  return address && { first, address: address.message, length: 3 + address.length };
}

function checkVersion(bytes: Buffer, side: WireSide): void {
  if (bytes.length > 0 && bytes[0] !== version) {
    throw malformed(side, `this is no SOCKS5: it begins with ${String(bytes[0])} instead of 5`);
  }
}

function checkAuthVersion(bytes: Buffer, side: WireSide): void {
  if (bytes.length > 0 && bytes[0] !== authVersion) {
    throw malformed(side, `the authentication has version ${String(bytes[0])} instead of 1`);
  }
}

function octet(value: number, what: string): number {
  if (!Number.isInteger(value) || value < 0 || value > 255) {
    throw unsayable(`${String(value)} does not fit the byte for ${what}`);
  }
  return value;
}
