import { formatIp, parseIp, parseNetwork } from '../../core/match/ip.ts';
import type { Ip } from '../../core/match/ip.ts';
import { optional, text, whole, wrongType } from '../../schema/read.ts';
import type { Fields, FromFields, Reader } from '../../schema/read.ts';
import type { Value } from '../../schema/parse.ts';

/** An address, and how many of its bits are its network's. */
export interface Subnet {
  readonly address: string;
  readonly length: number;
}

/** A network, and the address that its packets go by; undefined: it is behind the device itself. */
export interface TunRoute {
  readonly to: Subnet;
  readonly gateway: string | undefined;
}

/** GOST's default, which leaves room for what a packet is carried in. */
const defaultMtuBytes = 1420;

/** The least that IPv4 allows (RFC 791, section 3.2), and the most that a packet can have. */
const minMtuBytes = 68;
const maxMtuBytes = 65_535;

const deviceName: Reader<string> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined || /^(?!\.{1,2}$)[^\s/:%]{1,15}$/.test(written)) return written;
  return wrongType(value, path, reading, 'the name of a network device, at most 15 characters');
};

/** Commas separate; a list counts as well. */
function several<T>(read: (written: string) => T | undefined, what: string): Reader<readonly T[]> {
  return (value, path, reading) => {
    const items: readonly Value[] = value.kind === 'list' ? value.items : [value];
    return items.flatMap((item) => {
      const written = text()(item, path, reading) ?? '';
      return written
        .split(',')
        .map((one) => one.trim())
        .filter((one) => one !== '')
        .flatMap((one) => read(one) ?? wrongType(item, path, reading, what) ?? []);
    });
  };
}

/** `192.0.2.1/24`, all bits of it. */
function parseSubnet(written: string): Subnet | undefined {
  const network = parseNetwork(written);
  const ip = parseIp(written.slice(0, written.indexOf('/')));
  return network === undefined || ip === undefined
    ? undefined
    : { address: formatIp(ip), length: network.length };
}

/** A network, and maybe its gateway: `10.0.0.0/8 192.0.2.1`. The bits behind the length do not count. */
function parseRoute(written: string): TunRoute | undefined {
  const [to = '', gateway, ...more] = written.split(/\s+/);
  const network = parseNetwork(to);
  if (network === undefined || more.length > 0) return undefined;
  const ip = gateway === undefined ? undefined : parseIp(gateway);
  if (gateway !== undefined && (ip === undefined || isFour(ip) !== isFour(network.base))) return undefined;
  return {
    to: { address: formatIp(network.base), length: network.length },
    gateway: ip === undefined ? undefined : formatIp(ip),
  };
}

const address: Reader<string> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined) return undefined;
  const ip = parseIp(written);
  return ip === undefined ? wrongType(value, path, reading, 'an IP address') : formatIp(ip);
};

const isFour = (ip: Ip) => typeof ip === 'number';

/** GOST's keys of a tun listener. `peer` and `guid` are for other systems, there as here. */
export const tunListenerFields = {
  /** Default: the system chooses `tun0` or the next that is free. */
  name: { ...optional(deviceName), aliases: ['tun.name'] },
  /** The device's addresses. */
  net: { ...optional(several(parseSubnet, 'networks such as `10.0.0.1/24`')), aliases: ['tun.net'] },
  /** Default, and for 0: 1,420. */
  mtu: { ...optional(whole(0, maxMtuBytes)), aliases: ['tun.mtu'] },
  /** For routes that name no gateway of their own. */
  gw: { ...optional(address), aliases: ['tun.gw'] },
  route: { ...optional(several(parseRoute, 'networks such as `10.0.0.0/8`')), aliases: ['tun.route'] },
  routes: {
    ...optional(several(parseRoute, 'routes such as `10.0.0.0/8` or `10.0.0.0/8 192.0.2.1`')),
    aliases: ['tun.routes'],
  },
  peer: { ...optional(text()), aliases: ['tun.peer'] },
  guid: { ...optional(text()), aliases: ['tun.guid'] },
} as const satisfies Fields;

export type TunMetadata = Partial<FromFields<typeof tunListenerFields>>;

/** What a device is made with. */
export interface TunOptions {
  /** Empty: the system chooses. */
  readonly name: string;
  readonly mtuBytes: number;
  readonly addresses: readonly Subnet[];
  readonly routes: readonly TunRoute[];
}

/** What the file says, with what it leaves out. */
export function tunOptionsOf({
  name = '',
  net = [],
  mtu = 0,
  gw,
  route = [],
  routes = [],
}: TunMetadata): TunOptions {
  const isSix = (host: string) => host.includes(':');
  return {
    name,
    mtuBytes: mtu === 0 ? defaultMtuBytes : Math.max(mtu, minMtuBytes),
    addresses: net,
    routes: [...route, ...routes].map(({ to, gateway }) => ({
      to,
      gateway: gateway ?? (gw !== undefined && isSix(gw) === isSix(to.address) ? gw : undefined),
    })),
  };
}
