import { malformed } from './fault.ts';
import type { Parsed } from './wire-reader.ts';

/** What a TLS client says first, as far as a proxy needs it. */
export interface ClientHello {
  /** The host that it wants (SNI, RFC 6066, section 3), as it was written; absent where it names none. */
  readonly serverName: string | undefined;
  /** The protocols that it offers (ALPN, RFC 7301), the dearest first; empty where it offers none. */
  readonly alpn: readonly string[];
  /** The versions of TLS that it offers, as on the wire (0x0304 is TLS 1.3), with those of GREASE that stand for nothing. */
  readonly versions: readonly number[];
}

/** RFC 8446, section 5.1: a record holds at most 2^14 bytes. */
const maxRecordBytes = 2 ** 14;

/** The whole message. Those of today's browsers have about 2 KiB, keys for a quantum age included. */
const maxHelloBytes = 16 * 1024;

/** Clients send one record; some cut the name in two against filters. Without a limit, 16 KiB could be as many records. */
const maxRecords = 64;

const recordHeadLength = 5;
const messageHeadLength = 4;
const handshakeRecord = 22;
const clientHello = 1;

const serverNameExtension = 0;
const alpnExtension = 16;
const supportedVersionsExtension = 43;

/**
 * Reads a ClientHello (RFC 8446, section 4.1.2, and those of TLS 1.0 to 1.2 alike) with the records around it, which may be
 * several: at most 16 KiB in 64 records. Undefined while it is not whole; `notTls`, of length 0, where the bytes begin like
 * no TLS; `malformedRequest` is thrown where they begin like TLS and go on wrongly.
 */
export function parseClientHello(bytes: Buffer): Parsed<ClientHello | 'notTls'> | undefined {
  if (!beginsLikeTls(bytes)) return { message: 'notTls', length: 0 };
  const pieces: Buffer[] = [];
  let got = 0;
  let wanted: number | undefined;
  let at = 0;
  while (wanted === undefined || got < wanted) {
    if (pieces.length === maxRecords) throw broken(`is cut into more than ${String(maxRecords)} records`);
    if (bytes.length < at + recordHeadLength) {
      checkRecordHead(bytes.subarray(at));
      return undefined;
    }
    checkRecordHead(bytes.subarray(at, at + recordHeadLength));
    const end = at + recordHeadLength + bytes.readUInt16BE(at + 3);
    const piece = bytes.subarray(at + recordHeadLength, end);
    pieces.push(piece);
    got += piece.length;
    if (wanted === undefined && got >= messageHeadLength) {
      const head = pieces.length === 1 ? piece : Buffer.concat(pieces);
      wanted = messageHeadLength + head.readUIntBE(1, 3);
      if (wanted > maxHelloBytes) throw broken(`has more than ${String(maxHelloBytes)} bytes`);
    }
    if (bytes.length < end) return undefined;
    at = end;
  }
  // Nothing may follow before the server has answered (section 4.1.1).
  if (got > wanted) throw broken('is followed by something else in its record');
  const whole = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  return { message: parseBody(whole.subarray(messageHeadLength)), length: at };
}

/** False once it is certain that this is no ClientHello: record type, version 3.x, a length, message type. */
function beginsLikeTls(bytes: Buffer): boolean {
  const [type, major] = bytes;
  if (type !== undefined && type !== handshakeRecord) return false;
  if (major !== undefined && major !== 3) return false;
  if (bytes.length < recordHeadLength) return true;
  const length = bytes.readUInt16BE(3);
  if (length === 0 || length > maxRecordBytes) return false;
  return bytes.length === recordHeadLength || bytes[recordHeadLength] === clientHello;
}

/** A record's head, or what has come of it. Handshake records are never empty (section 5.1). */
function checkRecordHead(head: Buffer): void {
  const [type, major] = head;
  if (type !== undefined && type !== handshakeRecord)
    throw broken('is interrupted by another kind of record');
  if (major !== undefined && major !== 3) throw broken('goes on in another version');
  if (head.length < recordHeadLength) return;
  const length = head.readUInt16BE(3);
  if (length === 0 || length > maxRecordBytes) throw broken('is in a record of a length that there is not');
}

function parseBody(body: Buffer): ClientHello {
  const fields = new Fields(body);
  const legacyVersion = fields.number(2);
  fields.bytes(32);
  if (fields.vector(1).length > 32) throw broken('has a session id of more than 32 bytes');
  const cipherSuites = fields.vector(2);
  if (cipherSuites.length < 2 || cipherSuites.length % 2 !== 0) throw broken('has no list of cipher suites');
  if (fields.vector(1).length === 0) throw broken('has no list of compression methods');
  let serverName: string | undefined;
  let alpn: readonly string[] = [];
  let versions: readonly number[] = [legacyVersion];
  // Before TLS 1.3 there may be none.
  const extensions = fields.empty ? undefined : new Fields(fields.vector(2));
  fields.end();
  const seen = new Set<number>();
  while (extensions !== undefined && !extensions.empty) {
    const type = extensions.number(2);
    const data = new Fields(extensions.vector(2));
    // Section 4.2. Two peers could otherwise see two names.
    if (seen.has(type)) throw broken('has the same extension twice');
    seen.add(type);
    if (type === serverNameExtension) serverName = parseServerName(data);
    else if (type === alpnExtension) alpn = parseAlpn(data);
    else if (type === supportedVersionsExtension) versions = parseVersions(data);
  }
  return { serverName, alpn, versions };
}

/** RFC 6066, section 3: a list with at most one name of each kind; the only kind there has been is a host's. */
function parseServerName(data: Fields): string {
  const list = new Fields(data.vector(2));
  data.end();
  const kind = list.number(1);
  const name = list.vector(2);
  list.end();
  if (kind !== 0) throw broken('names a server in another way than by its host');
  const text = name.toString('latin1');
  if (!/^[\w.-]{1,255}$/.test(text)) throw broken('names a server that no host can be called');
  return text;
}

/** RFC 7301, section 3.1. */
function parseAlpn(data: Fields): string[] {
  const list = new Fields(data.vector(2));
  data.end();
  const protocols: string[] = [];
  do {
    const name = list.vector(1);
    if (name.length === 0) throw broken('offers a protocol without a name');
    protocols.push(name.toString('latin1'));
  } while (!list.empty);
  return protocols;
}

/** RFC 8446, section 4.2.1. */
function parseVersions(data: Fields): number[] {
  const list = new Fields(data.vector(1));
  data.end();
  const versions: number[] = [];
  do versions.push(list.number(2));
  while (!list.empty);
  return versions;
}

/** Reads the fields of a structure one after the other; what does not fit is an error. */
class Fields {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get empty(): boolean {
    return this.#at === this.#bytes.length;
  }

  bytes(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw broken('has a field that is longer than its place');
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  number(size: 1 | 2): number {
    return this.bytes(size).readUIntBE(0, size);
  }

  /** Bytes that follow their length, which has `size` bytes itself. */
  vector(size: 1 | 2): Buffer {
    return this.bytes(this.number(size));
  }

  end(): void {
    if (!this.empty) throw broken('has a field that is shorter than its place');
  }
}

function broken(what: string): Error {
  return malformed('client', `the ClientHello ${what}`);
}
