import { isUtf8 } from 'node:buffer';
import { malformed, unsayable } from './fault.ts';
import type { WireSide } from './fault.ts';
import { formatSocksAddress, parseSocksAddress } from './socks-address.ts';
import type { SocksAddress } from './socks-address.ts';

/** What a request or an answer of GOST's relay protocol says beside its first byte. */
export type RelayFeature =
  | { readonly type: 'userAuth'; readonly username: string; readonly password: string }
  | { readonly type: 'addr'; readonly address: SocksAddress }
  | RelayTunnel
  | { readonly type: 'network'; readonly network: number }
  | { readonly type: 'metadata'; readonly pairs: readonly (readonly [key: string, value: string])[] }
  /** One that this version does not know: it is carried, and says nothing. */
  | { readonly type: 'unknown'; readonly code: number; readonly data: Buffer };

/** Names a tunnel, or in answers the connector of one. */
export interface RelayTunnel {
  readonly type: 'tunnel';
  /** A UUID in lower-case hexadecimal with its dashes. */
  readonly id: string;
  /** Of a tunnel 0x80: it is private; of a connector 0x01: it carries datagrams. */
  readonly flags: number;
  /** How often it is chosen, 0 to 255. */
  readonly weight: number;
}

/** What the network feature may name. */
export const relayNetworks = { tcp: 0, udp: 1, ip: 2, unix: 0x10, serial: 0x11 } as const;

const codes = { userAuth: 1, addr: 2, tunnel: 3, network: 4, metadata: 5 } as const;

/** More of them are no request that anybody would send. */
const maxFeatures = 64;

/** GOST's bounds of what the metadata feature holds. */
const maxPairs = 20;
const maxTextBytes = 255;

const idBytes = 16;
const tunnelBytes = 20;

/** Reads the features of one message, which must fill the bytes exactly. Throws `malformedRequest` or `badUpstreamReply`. */
export function parseRelayFeatures(bytes: Buffer, side: WireSide): readonly RelayFeature[] {
  const features: RelayFeature[] = [];
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < 3) throw malformed(side, 'a feature is cut off');
    const length = bytes.readUInt16BE(at + 1);
    const data = bytes.subarray(at + 3, at + 3 + length);
    if (data.length < length) throw malformed(side, 'a feature is longer than what holds it');
    if (features.length === maxFeatures)
      throw malformed(side, `there are more than ${String(maxFeatures)} features`);
    features.push(parseFeature(bytes[at]!, data, side));
    at += 3 + length;
  }
  return features;
}

/** Writes one feature with its code and its length. Throws `unsupported` for what it has no room for. */
export function formatRelayFeature(feature: RelayFeature): Buffer {
  const { code, data } = formatFeature(feature);
  if (data.length > 0xffff) throw unsayable(`a feature of ${String(data.length)} bytes does not fit`);
  return Buffer.concat([Buffer.from([code, data.length >> 8, data.length & 255]), data]);
}

function parseFeature(code: number, data: Buffer, side: WireSide): RelayFeature {
  switch (code) {
    case codes.userAuth: {
      const reader = new Reader(data, side, 'the credentials');
      const feature = { type: 'userAuth' as const, username: reader.text(1), password: reader.text(1) };
      reader.finish();
      return feature;
    }
    case codes.addr:
      return { type: 'addr', address: parseAddress(data, side) };
    case codes.tunnel: {
      if (data.length !== tunnelBytes) throw malformed(side, 'the name of a tunnel has not 20 bytes');
      const id = data.toString('hex', 0, idBytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
      return { type: 'tunnel', id, flags: data[idBytes]!, weight: data[tunnelBytes - 1]! };
    }
    case codes.network:
      if (data.length !== 2) throw malformed(side, 'the network has not 2 bytes');
      return { type: 'network', network: data.readUInt16BE(0) };
    case codes.metadata: {
      const reader = new Reader(data, side, 'the metadata');
      const count = reader.number(2);
      if (count > maxPairs) throw malformed(side, `the metadata has more than ${String(maxPairs)} entries`);
      const pairs: [string, string][] = [];
      for (let index = 0; index < count; index++) pairs.push([reader.text(2), reader.text(2)]);
      reader.finish();
      return { type: 'metadata', pairs };
    }
    default:
      return { type: 'unknown', code, data: Buffer.from(data) };
  }
}

function parseAddress(data: Buffer, side: WireSide): SocksAddress {
  // A server that has no address to tell writes an empty name, as in SOCKS5.
  if (side === 'upstream' && data.length === 4 && data[0] === 3 && data[1] === 0) {
    return { host: '0.0.0.0', port: data.readUInt16BE(2) };
  }
  const parsed = parseSocksAddress(data, side);
  if (parsed?.length !== data.length) throw malformed(side, 'the address has not the length that it says');
  return parsed.message;
}

function formatFeature(feature: RelayFeature): { code: number; data: Buffer } {
  switch (feature.type) {
    case 'userAuth': {
      const { username, password } = feature;
      return { code: codes.userAuth, data: Buffer.concat([sized(username, 1), sized(password, 1)]) };
    }
    case 'addr':
      return { code: codes.addr, data: formatSocksAddress(feature.address) };
    case 'tunnel': {
      const { id, flags, weight } = feature;
      if (!/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(id))
        throw unsayable(`${JSON.stringify(id)} is no UUID`);
      const rest = [octet(flags), 0, 0, octet(weight)];
      return {
        code: codes.tunnel,
        data: Buffer.concat([Buffer.from(id.replaceAll('-', ''), 'hex'), Buffer.from(rest)]),
      };
    }
    case 'network': {
      const { network } = feature;
      if (!Number.isInteger(network) || network < 0 || network > 0xffff) {
        throw unsayable(`${String(network)} is no network of the relay protocol`);
      }
      return { code: codes.network, data: Buffer.from([network >> 8, network & 255]) };
    }
    case 'metadata': {
      const { pairs } = feature;
      if (pairs.length > maxPairs) throw unsayable(`the metadata has room for ${String(maxPairs)} entries`);
      const written = pairs.flatMap(([key, value]) => [sized(key, 2), sized(value, 2)]);
      return { code: codes.metadata, data: Buffer.concat([Buffer.from([0, pairs.length]), ...written]) };
    }
    case 'unknown': {
      const { code, data } = feature;
      const isKnown = Object.values<number>(codes).includes(code);
      if (isKnown) throw unsayable(`${String(code)} is the code of a feature that is known`);
      return { code: octet(code), data };
    }
  }
}

/** A text of at most 255 bytes behind its length. */
function sized(text: string, lengthBytes: 1 | 2): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > maxTextBytes) {
    throw unsayable(
      `the relay protocol has room for 255 bytes of text, and there are ${String(bytes.length)}`,
    );
  }
  const length = lengthBytes === 1 ? [bytes.length] : [0, bytes.length];
  return Buffer.concat([Buffer.from(length), bytes]);
}

function octet(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 255)
    throw unsayable(`${String(value)} does not fit a byte`);
  return value;
}

/** Takes one thing after the other out of the bytes of a feature. */
class Reader {
  readonly #bytes: Buffer;
  readonly #side: WireSide;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Buffer, side: WireSide, what: string) {
    this.#bytes = bytes;
    this.#side = side;
    this.#what = what;
  }

  number(length: 1 | 2): number {
    const at = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw malformed(this.#side, `${this.#what} are cut off`);
    return this.#bytes.readUIntBE(at, length);
  }

  /** UTF-8, the only text that a plugin can be sent. */
  text(lengthBytes: 1 | 2): string {
    const length = this.number(lengthBytes);
    if (length > maxTextBytes)
      throw malformed(this.#side, `${this.#what} hold more than 255 bytes of one text`);
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    if (bytes.length < length) throw malformed(this.#side, `${this.#what} are cut off`);
    if (!isUtf8(bytes)) throw malformed(this.#side, `${this.#what} are not UTF-8`);
    return bytes.toString();
  }

  finish(): void {
    if (this.#at < this.#bytes.length)
      throw malformed(this.#side, `${this.#what} are followed by what they do not say`);
  }
}
