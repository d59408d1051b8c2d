import { parseIp } from '../../wire/ip.ts';
import type { Subnet, TunRoute } from './options.ts';

/** Messages of Linux' routing socket (rtnetlink(7)), in the byte order of all machines that this is built for: little-endian. */
const types = { error: 2, newLink: 16, newAddress: 20, newRoute: 24 } as const;

/** NLM_F_REQUEST and NLM_F_ACK; with NLM_F_REPLACE and NLM_F_CREATE: what is there already is no error. */
const asks = 0x5;
const sets = 0x505;

const families = { four: 2, six: 10 } as const;

const headBytes = 16;
const attributes = { linkMtu: 4, address: 1, localAddress: 2, routeTo: 1, routeDevice: 4, routeGateway: 5 };

/** IFF_UP. */
const up = 1;
/** IFA_F_NODAD: nobody else can have an address of the device. */
const unchecked = 2;
/** RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST, and RT_SCOPE_LINK for what has no gateway. */
const route = { mainTable: 254, byAdministrator: 4, unicast: 1, onLink: 253 };

/** Makes a device ready: how long its packets may be, and up. */
export function formatLinkUp(index: number, mtuBytes: number): Buffer {
  const body = Buffer.alloc(16);
  body.writeInt32LE(index, 4);
  body.writeUInt32LE(up, 8);
  body.writeUInt32LE(up, 12);
  return message(types.newLink, asks, body, [attribute(attributes.linkMtu, word(mtuBytes))]);
}

/** Gives a device an address. */
export function formatAddressOf(index: number, { address, length }: Subnet): Buffer {
  const ip = bytesOf(address);
  const body = Buffer.alloc(8);
  body[0] = familyOf(ip);
  body[1] = length;
  body[2] = ip.length === 16 ? unchecked : 0;
  body.writeUInt32LE(index, 4);
  return message(types.newAddress, sets, body, [
    attribute(attributes.localAddress, ip),
    attribute(attributes.address, ip),
  ]);
}

/** Leads a network to a device, or to a gateway, wherever that is. */
export function formatRouteTo(index: number, { to, gateway }: TunRoute): Buffer {
  const ip = bytesOf(to.address);
  const body = Buffer.alloc(12);
  body[0] = familyOf(ip);
  body[1] = to.length;
  body[4] = route.mainTable;
  body[5] = route.byAdministrator;
  body[6] = gateway === undefined && ip.length === 4 ? route.onLink : 0;
  body[7] = route.unicast;
  return message(types.newRoute, sets, body, [
    attribute(attributes.routeTo, ip),
    gateway === undefined
      ? attribute(attributes.routeDevice, word(index))
      : attribute(attributes.routeGateway, bytesOf(gateway)),
  ]);
}

/** The error number that an answer holds, 0 for a yes; undefined for what is no answer. */
export function parseAnswer(bytes: Buffer): number | undefined {
  if (bytes.length < headBytes + 4 || bytes.readUInt16LE(4) !== types.error) return undefined;
  return 0 - bytes.readInt32LE(headBytes);
}

function message(type: number, flags: number, body: Buffer, more: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(headBytes);
  const all = Buffer.concat([head, body, ...more]);
  all.writeUInt32LE(all.length);
  all.writeUInt16LE(type, 4);
  all.writeUInt16LE(flags, 6);
  return all;
}

/** Length, type and value, up to the next multiple of four. */
function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  bytes.writeUInt16LE(4 + value.length);
  bytes.writeUInt16LE(type, 2);
  value.copy(bytes, 4);
  return bytes;
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** Of an address that was read as one. */
function bytesOf(address: string): Buffer {
  const bytes = parseIp(address);
  if (bytes === undefined) throw new TypeError(`${address} is no IP address`);
  return bytes;
}

const familyOf = (ip: Buffer) => (ip.length === 4 ? families.four : families.six);
