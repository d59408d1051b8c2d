import type { Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { parseUuid, formatUuid } from '../../wire/uuid.ts';

/** Who can be visited: one connection with a client that has registered. */
export interface Connector {
  /** A UUID of its own. */
  readonly id: string;
  readonly network: 'tcp' | 'udp';
  /** How often it is chosen beside others, 0 to 255. 0 counts as 1; beside one of 255 only others of 255 are chosen. */
  readonly weight: number;
  /** False: it takes no visitor any more, or none at the moment. */
  readonly isOpen: boolean;
  /** A connection to it. Throws ProxyError where `isOpen` is false. */
  open(): Conn;
}

/** Who wants to register. */
export interface Claimant {
  /** Who the client proved to be; empty where nobody is asked, so that all clients are one. */
  readonly user: string;
  /** What the auther said of them. */
  readonly tags: readonly string[];
  /** How long the tunnel is kept for the user after its last connector has gone, in milliseconds. */
  readonly ttlMs: number;
}

/** A tunnel that a client may be a connector of. Whoever asked for it leaves it. */
export interface Claim {
  /** From now on visitors reach this connector. Once. */
  join(connector: Connector): void;
  /** Neither the connector nor the user has anything to do with the tunnel any more. More than one call does no harm. */
  leave(): void;
}

/** Which clients are behind which tunnels, and whose the tunnels are. */
export interface Registry {
  /**
   * Makes sure that the user may register there, and keeps the tunnel for them from now on. Where their tags name tunnels, they
   * may have exactly those; whoever has no such tag may have any that is not another user's. Throws ProxyError `forbidden`.
   */
  claim(tunnel: string, claimant: Claimant): Claim;
  /** One of the tunnel's connectors that can be visited, by their weights; undefined: there is none beside these. */
  pick(tunnel: string, network: 'tcp' | 'udp', not?: ReadonlySet<Connector>): Connector | undefined;
  /** Tunnels that somebody has, and connectors that have joined. */
  readonly size: { readonly tunnels: number; readonly connectors: number };
}

/** What a registry is made with. */
export interface RegistryOptions {
  /** Milliseconds that never go back. */
  readonly now: () => number;
  /** At least 0 and below 1. Default `Math.random`. */
  readonly random?: () => number;
  /** Tunnels without a connector that are kept for their users; the oldest is forgotten first. Default 100,000. */
  readonly maxRemembered?: number;
}

/** As long as one of these is there, no other connector is chosen. */
const exclusiveWeight = 255;

const tagPrefix = 'tunnel=';

interface Tunnel {
  user: string;
  /** Clients that have claimed it and not left. */
  claims: number;
  /** True once one has joined. */
  wasLive: boolean;
  readonly connectors: Connector[];
}

/** Makes an empty registry. It keeps what it is told in memory, and holds nothing that has to be closed. */
export function createRegistry(options: RegistryOptions): Registry {
  return new TunnelRegistry(options);
}

class TunnelRegistry implements Registry {
  readonly #options: Required<RegistryOptions>;
  readonly #live = new Map<string, Tunnel>();
  /** Whose tunnels were, those that ended first in front. */
  readonly #recent = new Map<string, { readonly user: string; readonly untilMs: number }>();
  #connectors = 0;

  constructor(options: RegistryOptions) {
    this.#options = { random: Math.random, maxRemembered: 100_000, ...options };
  }

  get size() {
    return { tunnels: this.#live.size, connectors: this.#connectors };
  }

  claim(id: string, { user, tags, ttlMs }: Claimant): Claim {
    const own = tunnelsOf(tags);
    const owner = this.#live.get(id)?.user ?? this.#owner(id);
    if (own !== undefined && !own.has(id))
      throw forbidden(`${named(user)} may register ${listed(own)}, and not the tunnel ${id}`);
    if (own === undefined && owner !== undefined && owner !== user)
      throw forbidden(`the tunnel ${id} is another user's, and not ${named(user)}'s`);
    const tunnel = this.#live.get(id) ?? { user, claims: 0, wasLive: false, connectors: [] };
    this.#live.set(id, tunnel);
    tunnel.claims++;
    // Whose tag says that it is theirs is right.
    tunnel.user = user;
    let joined: Connector | undefined;
    let isLeft = false;
    return {
      join: (connector) => {
        joined = connector;
        tunnel.connectors.push(connector);
        tunnel.wasLive = true;
        this.#connectors++;
      },
      leave: () => {
        if (isLeft) return;
        isLeft = true;
        if (joined !== undefined) {
          tunnel.connectors.splice(tunnel.connectors.indexOf(joined), 1);
          this.#connectors--;
        }
        if (--tunnel.claims > 0) return;
        this.#live.delete(id);
        if (tunnel.wasLive) this.#remember(id, tunnel.user, ttlMs);
      },
    };
  }

  pick(id: string, network: 'tcp' | 'udp', not?: ReadonlySet<Connector>): Connector | undefined {
    const tunnel = this.#live.get(id);
    if (tunnel === undefined) return undefined;
    let choice: Connector[] = [];
    let total = 0;
    let isExclusive = false;
    for (const connector of tunnel.connectors) {
      if (connector.network !== network || !connector.isOpen || not?.has(connector) === true) continue;
      if (connector.weight === exclusiveWeight && !isExclusive) {
        isExclusive = true;
        choice = [];
        total = 0;
      }
      if (isExclusive && connector.weight !== exclusiveWeight) continue;
      choice.push(connector);
      total += connector.weight || 1;
    }
    let at = this.#options.random() * total;
    for (const connector of choice) {
      at -= connector.weight || 1;
      if (at < 0) return connector;
    }
    return choice.at(-1);
  }

  /** Whose a tunnel without a connector is; undefined: nobody's. */
  #owner(id: string): string | undefined {
    const recent = this.#recent.get(id);
    return recent !== undefined && recent.untilMs > this.#options.now() ? recent.user : undefined;
  }

  #remember(id: string, user: string, ttlMs: number): void {
    const { now, maxRemembered } = this.#options;
    const nowMs = now();
    // It moves to the end, as the latest.
    this.#recent.delete(id);
    if (ttlMs > 0) this.#recent.set(id, { user, untilMs: nowMs + ttlMs });
    for (const [oldest, { untilMs }] of this.#recent) {
      if (untilMs > nowMs && this.#recent.size <= maxRemembered) break;
      this.#recent.delete(oldest);
    }
  }
}

/** The tunnels that the auther says are the user's; undefined: it does not say which. A tag that names none allows none. */
function tunnelsOf(tags: readonly string[]): ReadonlySet<string> | undefined {
  const named = tags.filter((tag) => tag.startsWith(tagPrefix));
  if (named.length === 0) return undefined;
  const ids = named.flatMap((tag) => {
    const uuid = parseUuid(tag.slice(tagPrefix.length).trim());
    return uuid === undefined ? [] : [formatUuid(uuid)];
  });
  return new Set(ids);
}

function named(user: string): string {
  return user === '' ? 'a client without a name' : `user ${JSON.stringify(user)}`;
}

function listed(ids: ReadonlySet<string>): string {
  if (ids.size === 0) return 'no tunnel';
  const shown = [...ids].slice(0, 3).join(', ');
  return ids.size > 3 ? `${shown} and ${String(ids.size - 3)} more` : shown;
}

function forbidden(message: string): ProxyError {
  return new ProxyError('forbidden', 'client', message, { status: 403 });
}
