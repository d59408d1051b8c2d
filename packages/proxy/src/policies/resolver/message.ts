import { randomInt } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { PluginError } from '@sallyport/plugin';
import dnsPacket from 'dns-packet';

/** The record types that are asked for. */
export type AddressType = 'A' | 'AAAA';

/** One question in a packet of its own. */
export interface Query {
  readonly id: number;
  readonly type: AddressType;
  /** Lower case, without the last dot. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** What a nameserver says to a {@link Query}. */
export interface Reply {
  /** 0 is NOERROR, 3 NXDOMAIN; others mean that the server could not or would not say. With the bits of EDNS. */
  readonly code: number;
  /** There is more than fits; the rest of the reply is not looked at. */
  readonly truncated: boolean;
  /** In the server's order, at most {@link maxAddresses}. */
  readonly addresses: readonly string[];
  /** The least of the addresses and of the aliases that lead to them. 0: not to be remembered. */
  readonly ttlMs: number;
  /** How long "there is none" may be remembered (RFC 2308, section 5); 0 without an SOA record. */
  readonly denialTtlMs: number;
  /** It only names other servers to ask. */
  readonly referral: boolean;
}

/** No answer over TCP, TLS or HTTP can be longer: the length has two bytes (RFC 1035, section 4.2.2). */
export const maxMessageBytes = 65_535;

/** More addresses of one name than anybody tries. */
export const maxAddresses = 64;

/** More than any honest reply has. */
const maxRecords = 512;

/** A name has at most 127 labels, and one pointer a label is already more than anybody writes. */
const maxPointers = 127;

/** Aliases of aliases; resolvers stop between 8 and 16. */
const maxAliases = 16;

/** Nothing is remembered for longer, whatever a record says (RFC 8767, section 4 has seven days; resolvers take one). */
const maxTtlSeconds = 24 * 60 * 60;

const headerBytes = 12;
const types = { A: 1, NS: 2, CNAME: 5, SOA: 6, AAAA: 28, OPT: 41 } as const;

/** What fits into a datagram on any path (the figure of the DNS flag day 2020). */
const udpPayloadBytes = 1232;

/**
 * Makes a question with a random id. `name` is canonical: labels of at most 63 bytes, 253 altogether. With `clientIP` it
 * says where the client is (RFC 7871): the first 24 bits of an IPv4 address, all of an IPv6 address, as GOST does.
 * Without it there is no EDNS in the packet, which the oldest servers understand best.
 */
export function createQuery(name: string, type: AddressType, clientIP?: string): Query {
  const id = randomInt(0x1_0000);
  const subnet = clientIP === undefined ? undefined : subnetOf(clientIP);
  const bytes = dnsPacket.encode({
    type: 'query',
    id,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type, name }],
    additionals:
      subnet === undefined
        ? []
        : [{ type: 'OPT', name: '.', udpPayloadSize: udpPayloadBytes, options: [subnet] }],
  });
  return { id, type, name, bytes };
}

function subnetOf(ip: string) {
  return { code: 'CLIENT_SUBNET', ip, sourcePrefixLength: isIPv4(ip) ? 24 : 128 };
}

/**
 * Reads what came back for a question. Counted are only records that answer it: those of the name that was asked for, or of
 * the one that its aliases lead to. Throws PluginError `badReply` for what is no answer to this question: another id, another
 * question, a question, or bytes that are no DNS message.
 */
export function readReply(bytes: Buffer, query: Query): Reply {
  if (bytes.length < headerBytes || bytes.length > maxMessageBytes) throw bad('is no DNS message');
  if (bytes.readUInt16BE(0) !== query.id) throw bad('is for another question');
  const flags = bytes.readUInt16BE(2);
  if ((flags & 0x8000) === 0) throw bad('is a question itself');
  if ((flags & 0x7800) !== 0) throw bad('is for another kind of request');
  const code = flags & 0x0f;
  const truncated = (flags & dnsPacket.TRUNCATED_RESPONSE) !== 0;
  const empty = { code, truncated, addresses: [], ttlMs: 0, denialTtlMs: 0, referral: false };
  const questions = bytes.readUInt16BE(4);
  // A server that understood nothing may send the header alone; such a reply never names an address.
  if (questions === 0 && code !== 0 && code !== 3) return empty;
  const asked = query.bytes.subarray(headerBytes, questionEnd(query));
  const start = headerBytes + asked.length;
  const echoed = bytes.subarray(headerBytes, start);
  if (questions !== 1 || lower(echoed) !== lower(asked)) throw bad('is for another question');
  // What was cut off may be cut in the middle of a record.
  if (truncated) return empty;
  try {
    return { ...empty, ...readRecords(bytes, start, query, code) };
  } catch (cause) {
    if (cause instanceof PluginError) throw cause;
    throw new PluginError('badReply', 'the reply is cut short or no DNS message', { cause });
  }
}

function questionEnd({ bytes }: Query): number {
  let offset = headerBytes;
  while (bytes[offset] !== 0) offset += 1 + bytes[offset]!;
  return offset + 5;
}

function lower(bytes: Buffer): string {
  return bytes.toString('latin1').toLowerCase();
}

interface Owned {
  readonly addresses: string[];
  ttl: number;
}

function readRecords(bytes: Buffer, start: number, query: Query, headerCode: number): Partial<Reply> {
  const [answers, authorities, additionals] = [6, 8, 10].map((at) => bytes.readUInt16BE(at)) as [
    number,
    number,
    number,
  ];
  const total = answers + authorities + additionals;
  if (total > maxRecords) throw bad(`holds more than ${String(maxRecords)} records`);
  const owners = new Map<string, Owned>();
  const aliases = new Map<string, { readonly to: string; readonly ttl: number }>();
  let code = headerCode;
  let soa: number | undefined;
  let delegates = false;
  let offset = start;
  for (let index = 0; index < total; index++) {
    const owner = nameAt(bytes, offset);
    offset += dnsPacket.name.decode.bytes;
    const type = bytes.readUInt16BE(offset);
    const isInternet = bytes.readUInt16BE(offset + 2) === 1;
    const ttl = bytes.readUInt32BE(offset + 4);
    const data = offset + 10;
    const end = data + bytes.readUInt16BE(offset + 8);
    if (end > bytes.length) throw bad('is cut short');
    offset = end;
    if (type === types.OPT) {
      // The bits above the header's four stand where others have a TTL (RFC 6891, section 6.1.3).
      if (index >= answers + authorities) code |= (ttl >>> 24) << 4;
    } else if (!isInternet || index >= answers + authorities) {
      continue;
    } else if (index >= answers) {
      if (type === types.NS) delegates = true;
      if (type !== types.SOA) continue;
      if (end - data < 22) throw bad('holds an SOA record of a wrong size');
      soa = Math.min(seconds(ttl), seconds(bytes.readUInt32BE(end - 4)));
    } else if (type === types.CNAME) {
      const to = nameAt(bytes, data);
      if (data + dnsPacket.name.decode.bytes !== end) throw bad('holds an alias of a wrong size');
      // Two aliases of one name are a mistake of its owner; as elsewhere, the first counts.
      if (!aliases.has(owner)) aliases.set(owner, { to, ttl: seconds(ttl) });
    } else if (type === types[query.type]) {
      const address = addressAt(bytes, data, end, query.type);
      const owned = owners.get(owner) ?? { addresses: [], ttl: maxTtlSeconds };
      owned.ttl = Math.min(owned.ttl, seconds(ttl));
      if (owned.addresses.length < maxAddresses) owned.addresses.push(address);
      owners.set(owner, owned);
    }
  }
  const found = follow(query.name, owners, aliases);
  return {
    code,
    addresses: found?.addresses ?? [],
    ttlMs: (found?.ttl ?? 0) * 1000,
    denialTtlMs: (soa ?? 0) * 1000,
    referral: code === 0 && answers === 0 && delegates && soa === undefined,
  };
}

/** How many bytes it took is where the library keeps it. */
function nameAt(bytes: Buffer, start: number): string {
  // The library follows as many pointers as there are; thousands of them in every record would cost seconds.
  let offset = start;
  for (let jumps = 0; ;) {
    const length = bytes[offset] ?? 0;
    if (length === 0) break;
    if (length < 0xc0) offset += 1 + length;
    else if (++jumps > maxPointers) throw bad('holds a name that is spread all over it');
    else offset = bytes.readUInt16BE(offset) - 0xc000;
  }
  return dnsPacket.name.decode(bytes, start).toLowerCase();
}

function follow(
  name: string,
  owners: ReadonlyMap<string, Owned>,
  aliases: ReadonlyMap<string, { readonly to: string; readonly ttl: number }>,
): Owned | undefined {
  let at = name;
  let ttl = maxTtlSeconds;
  for (let steps = 0; ; steps++) {
    const owned = owners.get(at);
    if (owned !== undefined) return { addresses: owned.addresses, ttl: Math.min(ttl, owned.ttl) };
    const alias = aliases.get(at);
    if (alias === undefined) return undefined;
    if (steps === maxAliases) throw bad('has aliases that go in a circle or on and on');
    ttl = Math.min(ttl, alias.ttl);
    at = alias.to;
  }
}

function addressAt(bytes: Buffer, data: number, end: number, type: AddressType): string {
  if (end - data !== (type === 'A' ? 4 : 16)) throw bad('holds an address of a wrong size');
  if (type === 'A') return bytes.subarray(data, end).join('.');
  // One spelling for one address: rules for IPv4 would not know the mapped form.
  const isMapped =
    bytes.readUInt16BE(data + 10) === 0xffff && bytes.subarray(data, data + 10).every((byte) => byte === 0);
  return isMapped ? bytes.subarray(data + 12, end).join('.') : dnsPacket.aaaa.decode(bytes, data - 2);
}

/** A TTL with its first bit set counts as zero (RFC 2181, section 8). */
function seconds(ttl: number): number {
  return ttl > 0x7fff_ffff ? 0 : Math.min(ttl, maxTtlSeconds);
}

function bad(what: string): PluginError {
  return new PluginError('badReply', `the reply ${what}`);
}

const codeNames: Readonly<Record<number, string>> = {
  0: 'NOERROR',
  1: 'FORMERR (it does not understand the question)',
  2: 'SERVFAIL (it could not find out)',
  3: 'NXDOMAIN',
  4: 'NOTIMP (it does not serve such questions)',
  5: 'REFUSED (it does not answer us)',
  9: 'NOTAUTH',
  16: 'BADVERS (it does not know EDNS, which `clientIP` needs)',
};

/** A response code for people. */
export function formatCode(code: number): string {
  return codeNames[code] ?? `the response code ${String(code)}`;
}
