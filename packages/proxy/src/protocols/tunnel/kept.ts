import { randomUUID } from 'node:crypto';
import type { Announced, Announcer } from '../../core/announcer.ts';
import { createRegistry } from './registry.ts';
import type { Registry } from './registry.ts';

/** One handler of a service; after a reload there are two, until the older one's last connection has ended. */
export interface Holder {
  /** Absent: it tells no sd. */
  readonly announcer?: Announcer;
}

/**
 * What the tunnels of one service are, whatever configuration it has by now: those who have registered by one configuration are
 * reached by the visitors of the next, and what sd is told of them it is told by the newest.
 */
export class Kept {
  /** What this node is called, a UUID: towards sd, and towards other nodes. */
  readonly node: string = randomUUID();
  readonly registry: Registry;
  /** Names that connectors of this node want to be known by, and the tunnels that they are of. */
  readonly #names = new Map<string, { readonly tunnel: string; wanted: number }>();
  /** The newest last. */
  readonly #holders: Holder[] = [];
  readonly #retired = new WeakSet<Holder>();

  constructor(now: () => number) {
    this.registry = createRegistry({ now });
  }

  /** It is held by one more handler. */
  hold(holder: Holder): void {
    this.#holders.push(holder);
  }

  /** A newer handler, where there is one, speaks for this one's connectors from now on. */
  retire(holder: Holder): void {
    this.#retired.add(holder);
    this.#handOver(holder, this.#speaker);
  }

  /** It is not held by this handler any more. */
  release(holder: Holder): void {
    const at = this.#holders.indexOf(holder);
    if (at >= 0) this.#holders.splice(at, 1);
    this.#handOver(
      holder,
      this.#speaker ?? this.#holders.findLast(({ announcer }) => announcer !== undefined),
    );
  }

  /** A connector is here. Answers how to take that back. */
  announce(connector: Announced, holder: Holder): () => void {
    (this.#speaker ?? holder).announcer?.here(connector);
    return () => {
      for (const { announcer } of this.#holders) announcer?.gone(connector);
    };
  }

  /** A tunnel's connector wants to be known by this name; undefined: one of another tunnel is. Answers how to take that back. */
  takeName(name: string, tunnel: string): (() => void) | undefined {
    const taken = this.#names.get(name) ?? { tunnel, wanted: 0 };
    if (taken.tunnel !== tunnel) return undefined;
    taken.wanted++;
    this.#names.set(name, taken);
    return () => {
      if (--taken.wanted === 0) this.#names.delete(name);
    };
  }

  /** Who speaks for all. */
  get #speaker(): Holder | undefined {
    return this.#holders.findLast((one) => one.announcer !== undefined && !this.#retired.has(one));
  }

  #handOver({ announcer }: Holder, to: Holder | undefined): void {
    if (to?.announcer !== undefined && to.announcer !== announcer) announcer?.handOverTo(to.announcer);
  }
}
