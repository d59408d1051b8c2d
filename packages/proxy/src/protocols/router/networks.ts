import { randomUUID } from 'node:crypto';
import { ProxyError } from '../../core/errors.ts';
import { Network } from './network.ts';
import { Nodes } from './nodes.ts';
import type { Site } from './site.ts';

/**
 * The networks of one service. They outlive a reload: the sites that have joined by one configuration and those that join by
 * the next are in the same networks. It ends when nobody holds it any more.
 */
export class Networks {
  /** What this node is called towards service discovery: a UUID. */
  readonly node: string = randomUUID();
  readonly #nodes = new Nodes();
  readonly #networks = new Map<string, Network>();
  #holders = 0;

  /** It is held by one more handler. */
  hold(): void {
    this.#holders++;
  }

  release(): void {
    if (--this.#holders > 0) return;
    for (const network of this.#networks.values()) network.close();
    this.#networks.clear();
    this.#nodes.close();
  }

  /** A network that sites have joined here. */
  find(router: string): Network | undefined {
    return this.#networks.get(router);
  }

  /**
   * The site is a gateway of this network from now on. Throws ProxyError `forbidden` where the gateway has joined already in the
   * name of another user.
   */
  join(router: string, site: Site): Network {
    const network =
      this.#networks.get(router) ?? new Network(router, { node: this.node, nodes: this.#nodes });
    const owner = network.ownerOf(site.gateway);
    if (owner !== undefined && owner !== site.owner) {
      const message = `another user has joined ${router} as ${site.gateway}`;
      throw new ProxyError('forbidden', 'client', message, { status: 403 });
    }
    network.add(site);
    this.#networks.set(router, network);
    return network;
  }

  leave(network: Network, site: Site): void {
    site.isGone = true;
    network.remove(site);
    if (!network.isEmpty) return;
    network.close();
    this.#networks.delete(network.id);
  }
}
