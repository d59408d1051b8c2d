// Three nodes that share their tunnels, and what they share them by: a plugin server and a Redis at a host of their own.
import type { Program } from '../../packages/proxy/test/program.ts';
import { nodeConfig, renewMs } from './configs.ts';
import type { NodeOptions } from './configs.ts';
import { openScene, tunnels, until } from './scene.ts';
import type { Scene, Served, TunnelName } from './scene.ts';

/** The nodes. */
export const nodes = ['node1', 'node2', 'node3'] as const;

/** One of them. */
export type NodeName = (typeof nodes)[number];

/** How the nodes find each other. */
export type Discovery = NodeOptions['sd'];

/** What stands in Redis of a connector. */
export interface Entry {
  readonly node: string;
  readonly id: string;
  readonly address: string;
}

/** Opens a scene with three nodes, a store, and more hosts. Whoever opens it closes its scene. */
export async function openCluster(sd: Discovery, ...more: readonly string[]): Promise<Cluster> {
  const cluster = new Cluster(await openScene(...nodes, 'store', ...more), sd);
  await cluster.startRedis();
  await cluster.startPlugin();
  await Promise.all(nodes.map((name) => cluster.startNode(name)));
  return cluster;
}

/** Nodes, and the programs that run at the moment. */
export class Cluster {
  readonly scene: Scene;
  readonly #sd: Discovery;
  readonly #nodes = new Map<NodeName, Served>();
  #redis: Program | undefined;
  #plugin: Program | undefined;

  constructor(scene: Scene, sd: Discovery) {
    this.scene = scene;
    this.#sd = sd;
  }

  node(name: NodeName): Served {
    return this.#nodes.get(name)!;
  }

  /** Where visitors come in. */
  entrypoint(name: NodeName): string {
    return this.scene.at(name, 80);
  }

  /** Where clients register. */
  address(name: NodeName): string {
    return this.scene.at(name, 8443);
  }

  config(name: NodeName, more: Partial<NodeOptions> = {}): object {
    return nodeConfig({
      ...{ address: this.scene.host(name).address, sd: this.#sd },
      ...{ plugin: this.scene.at('store', 8000), redis: this.scene.at('store', 6379) },
      // This one keeps to what it knows.
      ...(name === 'node3' && { onError: 'lastGood' }),
      ...more,
    });
  }

  async startNode(name: NodeName): Promise<void> {
    this.#nodes.set(name, await this.scene.serve(name, this.config(name)));
  }

  /** As a power cut does it. */
  async killNode(name: NodeName): Promise<void> {
    await this.node(name).stop('SIGKILL');
  }

  async startRedis(): Promise<void> {
    this.#redis = await this.scene.redis('store');
  }

  async killRedis(): Promise<void> {
    await this.#redis?.stop('SIGKILL');
  }

  async startPlugin(): Promise<void> {
    this.#plugin = await this.scene.plugin('store', '--sd-ttl', `${String(3 * renewMs)}ms`);
  }

  async killPlugin(): Promise<void> {
    await this.#plugin?.stop('SIGKILL');
  }

  /** What a visitor sees of a tunnel through a node. */
  async get(through: NodeName, name: TunnelName, scheme: 'http' | 'https' = 'http'): Promise<string> {
    return this.scene.get('visitor', this.entrypoint(through), tunnels[name].host, scheme);
  }

  /** Waits until a tunnel is served through each of these nodes. */
  async found(name: TunnelName, ...through: readonly NodeName[]): Promise<void> {
    const scheme = name === 'tls' ? 'https' : 'http';
    let last = '';
    for (const node of through.length === 0 ? nodes : through)
      await until(
        async () => (last = await this.get(node, name, scheme)).startsWith('200 '),
        `${name} through ${node}`,
      ).catch((error: Error) => {
        throw new Error(`${error.message}: ${last}\n${this.node(node).lines.slice(-10).join('\n')}`);
      });
  }

  /** Who serves a tunnel, as it stands in Redis at this moment. */
  async entries(name: TunnelName): Promise<readonly Entry[]> {
    const { id } = tunnels[name];
    const isPlugin = this.#sd === 'plugin';
    const key = isPlugin ? `sallyport:tunnels:sd:${id}` : `gost:sd:entries:${id}`;
    const flat = (await this.scene.askRedis('store', 'HGETALL', key)).split('\n');
    const alive = new Set<string>();
    if (!isPlugin) {
      const from = String(Date.now());
      const all = await this.scene.askRedis('store', 'ZRANGEBYSCORE', `gost:sd:expiry:${id}`, from, '+inf');
      for (const field of all.split('\n')) alive.add(field);
    }
    const entries: Entry[] = [];
    for (let at = 0; at + 1 < flat.length; at += 2) {
      const [node, connector] = JSON.parse(flat[at]!) as [string, string];
      const { address, until: untilMs } = JSON.parse(flat[at + 1]!) as { address: string; until?: number };
      const isAlive = untilMs === undefined ? alive.has(flat[at]!) : untilMs > Date.now();
      if (isAlive) entries.push({ node, id: connector, address });
    }
    return entries;
  }

  /** Waits until exactly these entrypoints are said to serve a tunnel, each as often as it stands here. */
  async registered(name: TunnelName, ...at: readonly NodeName[]): Promise<void> {
    const wanted = JSON.stringify(at.map((node) => this.entrypoint(node)).sort());
    let found = '';
    await until(async () => {
      const entries = await this.entries(name);
      found = JSON.stringify(entries.map(({ address }) => address).sort());
      return found === wanted && new Set(entries.map(({ id }) => id)).size === at.length;
    }, `in Redis, ${name} at ${wanted}`).catch((error: Error) => {
      throw new Error(`${error.message}, but ${found}`);
    });
  }
}
