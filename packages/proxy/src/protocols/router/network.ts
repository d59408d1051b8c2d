import { canonicalTarget, formatAddress } from '../../core/address.ts';
import type { Address } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { systemAddress } from '../../core/names.ts';
import { threadWheel } from '../../core/wheel.ts';
import {
  conversationOf,
  destinationKey,
  formatDestinationKey,
  isIpPacket,
  staysOnLink,
} from '../../wire/ip-packet.ts';
import type { DestinationKey } from '../../wire/ip-packet.ts';
import { formatRelayRequest, relayCommands } from '../../wire/relay.ts';
import { Answers } from './answers.ts';
import type { Node, Nodes } from './nodes.ts';
import { canonicalGateway, nameOf } from './request.ts';
import type { Site } from './site.ts';

/** Where a destination is. */
interface Route {
  /** Undefined: nowhere. */
  readonly gateway: string | undefined;
}

/** Where a gateway is that has not joined here. */
interface Elsewhere {
  /** What it is called. */
  readonly name: string;
  /** What stands before each packet. */
  readonly head: Buffer;
  /** Empty: it has joined nowhere. */
  readonly nodes: readonly Node[];
}

/** What all networks of a node share. */
export interface NetworkWorld {
  /** What this node is called: a UUID. */
  readonly node: string;
  readonly nodes: Nodes;
}

/** A connection of which nothing has been heard for so long is passed over where the gateway has another. */
const silentMs = 30_000;

/** Nodes that one gateway is looked for at; whoever answers with more is not believed. */
const maxNodesOfGateway = 32;

const hostAndPort = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/;

/**
 * One router's network: the sites that have joined it here, and where packets between them go. Nothing is asked for a packet
 * whose destination is known, and nothing is made for it.
 */
export class Network {
  readonly id: string;
  readonly #world: NetworkWorld;
  readonly #sites = new Map<string, Site[]>();
  readonly #routes: Answers<DestinationKey, Route, Site>;
  readonly #elsewhere: Answers<string, Elsewhere, Site>;

  constructor(id: string, world: NetworkWorld) {
    this.id = id;
    this.#world = world;
    // Packets that waited go on as if they had just come.
    const send = (to: Site | undefined, frame: Buffer) => to?.send(frame, 0, frame.length);
    this.#routes = new Answers<DestinationKey, Route, Site>({
      keptMs: ({ routeKeptMs }) => routeKeptMs,
      ask: (key, site) => this.#askRoute(formatDestinationKey(key), site),
      pass: (route, frame, from) => send(this.#along(route, frame, 0, frame.length, from), frame),
    });
    this.#elsewhere = new Answers<string, Elsewhere, Site>({
      keptMs: ({ sdKeptMs }) => sdKeptMs,
      ask: (gateway, site) => this.#askElsewhere(gateway, site),
      pass: (elsewhere, frame, from) => {
        this.#sendThere(elsewhere, frame, 0, frame.length, from);
      },
    });
  }

  get isEmpty(): boolean {
    return this.#sites.size === 0;
  }

  /** Whose the gateway is for as long as it is joined; undefined: nobody's. */
  ownerOf(gateway: string): string | undefined {
    return this.#sites.get(gateway)?.[0]?.owner;
  }

  add(site: Site): void {
    const sites = this.#sites.get(site.gateway);
    if (sites === undefined) this.#sites.set(site.gateway, [site]);
    else sites.push(site);
  }

  remove(site: Site): void {
    const sites = this.#sites.get(site.gateway) ?? [];
    const at = sites.indexOf(site);
    if (at >= 0) sites.splice(at, 1);
    if (sites.length === 0) this.#sites.delete(site.gateway);
  }

  /**
   * The site here that a frame of another is for. Undefined: it goes to another node, waits until that is known, or was
   * dropped.
   */
  take(bytes: Buffer, start: number, end: number, from: Site): Site | undefined {
    const key = isIpPacket(bytes, start + 2, end) ? destinationKey(bytes, start + 2) : undefined;
    if (key === undefined || staysOnLink(key)) {
      from.drop();
      return undefined;
    }
    const route = this.#routes.find(key, bytes, start, end, from);
    return route === undefined ? undefined : this.#along(route, bytes, start, end, from);
  }

  /** Hands a frame that another node has sent to its gateway, which has joined here; false: it has not. */
  deliver(gateway: string, bytes: Buffer, start: number, end: number): boolean {
    const site = this.#siteOf(gateway, bytes, start);
    site?.send(bytes, start, end);
    return site !== undefined;
  }

  /** Packets that wait are dropped. */
  close(): void {
    this.#routes.close();
    this.#elsewhere.close();
  }

  #along({ gateway }: Route, bytes: Buffer, start: number, end: number, from: Site): Site | undefined {
    const site = gateway === undefined ? undefined : this.#siteOf(gateway, bytes, start);
    if (site !== undefined) return site;
    if (gateway === undefined || from.sd === undefined) {
      from.drop();
      return undefined;
    }
    const elsewhere = this.#elsewhere.find(gateway, bytes, start, end, from);
    if (elsewhere !== undefined) this.#sendThere(elsewhere, bytes, start, end, from);
    return undefined;
  }

  /** Of several nodes a conversation goes to one, and only where that is known not to have the gateway to the next. */
  #sendThere({ name, nodes, head }: Elsewhere, bytes: Buffer, start: number, end: number, from: Site): void {
    const first = nodes.length < 2 ? 0 : conversationOf(bytes, start + 2);
    const now = threadWheel.now();
    for (let tried = 0; tried < nodes.length; tried++) {
      const node = nodes[(first + tried) % nodes.length]!;
      if (!node.has(name, now)) continue;
      if (!node.send(head, bytes, start + 2, end)) from.drop();
      return;
    }
    from.drop();
  }

  /**
   * Of several connections of a gateway a conversation goes through one, so that its packets stay in order; and where that has been
   * silent for long, through the next that has not: a machine that lost its power has never said that its connection is over.
   */
  #siteOf(gateway: string, bytes: Buffer, start: number): Site | undefined {
    const sites = this.#sites.get(gateway);
    if (sites === undefined || sites.length === 1) return sites?.[0];
    const first = conversationOf(bytes, start + 2);
    const since = threadWheel.now() - silentMs;
    for (let tried = 0; tried < sites.length; tried++) {
      const site = sites[(first + tried) % sites.length]!;
      if (site.heardMs >= since) return site;
    }
    return sites[first % sites.length];
  }

  async #askRoute(destination: string, { session, routers }: Site): Promise<Route> {
    for (const policy of routers) {
      const route = await session.decide({
        module: 'router',
        about: destination,
        ask: (call) => policy.getRoute({ destination, router: this.id }, call),
        tell: (found) =>
          found === undefined
            ? { outcome: 'no', answer: 'no route' }
            : { outcome: 'yes', answer: `${found.network} via ${found.gateway}` },
      });
      if (route === undefined) continue;
      return { gateway: route.gateway === '' ? undefined : canonicalGateway(route.gateway) };
    }
    return { gateway: undefined };
  }

  async #askElsewhere(gateway: string, { session, sd }: Site): Promise<Elsewhere> {
    const name = nameOf(gateway, this.id);
    const services = await session.decide({
      module: 'sd',
      about: name,
      ask: (call) => sd?.get({ name }, call) ?? [],
      tell: (found) =>
        found.length === 0
          ? { outcome: 'no', answer: 'nowhere' }
          : { outcome: 'yes', answer: found.map(({ address }) => address).join(', ') },
    });
    const written = services.flatMap(({ node, network, address }) =>
      node !== this.#world.node && network === 'udp' ? [address] : [],
    );
    const addresses = await Promise.all([...new Set(written)].slice(0, maxNodesOfGateway).map(nodeAddress));
    const found = new Map(addresses.flatMap((one) => (one === undefined ? [] : [[formatAddress(one), one]])));
    // In one order at every node, whatever the order of the answer: so conversations stay where they are.
    const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, address]) => address);
    const nodes = await Promise.all(sorted.map((address) => this.#world.nodes.at(address)));
    const head = formatRelayRequest({
      command: relayCommands.associate,
      flags: 0,
      features: [
        { type: 'tunnel', id: this.id, flags: 0, weight: 0 },
        { type: 'addr', address: { host: gateway, port: 0 } },
      ],
    });
    return { name, head, nodes: nodes.filter((node) => node !== undefined) };
  }
}

/** Where a node says that it is; undefined for what is no address, and for a name that nobody has. */
async function nodeAddress(written: string): Promise<Address | undefined> {
  const match = hostAndPort.exec(written);
  if (match === null) return undefined;
  try {
    const address = canonicalTarget({ host: match[1] ?? match[2]!, port: Number(match[3]) });
    return await systemAddress(address, () => undefined);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    // One node that cannot be found is none; the others count.
    return undefined;
  }
}
