import type { SdService } from '@sallyport/plugin';
import { formatAddress, parseAuthority } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { tellLocal } from '../../core/local-event.ts';
import { PassedConn } from '../../core/passed-conn.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { withDeadline } from '../../core/reach.ts';
import type { Decider } from '../../core/route.ts';
import { withoutRules } from '../../core/way.ts';
import type { Context, Way } from '../../core/way.ts';
import type { Visit, Visited } from './tunnels.ts';

/** How long it is remembered where a tunnel's connectors are, also that they are nowhere. */
const rememberedMs = 1000;

/** Tunnels of which that is remembered. */
const maxRemembered = 10_000;

/** How long a node may take that no other can stand in for, as in GOST. */
const dialMs = 15_000;

/** How long it may take where others are left to be tried: a machine that died says nothing. */
const impatientMs = 3000;

/** How long a node that could not be reached is tried after all others. */
const avoidedMs = 15_000;

/** Nodes of which that is remembered. */
const maxAvoided = 1000;

/**
 * Visits of one tunnel that may be on their way to other nodes without a byte having come back. Where nodes take each other for
 * the one that has the connector, this is where it ends, whatever the visitors speak.
 */
const maxUnanswered = 1024;

/** What the way to other nodes is made with. */
export interface NodesOptions {
  /** This node's UUID: what it says of itself leads nowhere. */
  readonly node: string;
  readonly sd: PolicyOf<'sd'>;
  readonly direct: Way;
  /** Where other nodes reach this one: what is left in sd of a process before this one leads here as well. */
  readonly own: () => Address | undefined;
  /** Milliseconds that never go back. */
  readonly now: () => number;
  /** At least 0 and below 1. Default `Math.random`. */
  readonly random?: () => number;
}

/** The other nodes, as sd knows them. */
export interface Nodes {
  /**
   * A connection to the entrypoint of a node that has a connector of the tunnel, to which the visit's `request` is written. All
   * that sd names are equal: the first is chosen at random, and the next where one cannot be reached; where what was remembered of
   * them leads nowhere any more, sd is asked anew. Rejects with ProxyError
   * `noRoute` where sd names none, `dialFailed` or `dialTimeout` where none could be reached, `couldNotAsk`, `clientClosed`, and
   * `loop`.
   */
  connect(tunnel: string, visit: Visit, context: Context, decider: Decider): Promise<Visited>;
}

interface Node {
  readonly id: string;
  readonly address: Address;
  readonly text: string;
}

/** Makes the way to other nodes. It holds nothing that has to be closed. */
export function createNodes(options: NodesOptions): Nodes {
  return new OtherNodes(options);
}

class OtherNodes implements Nodes {
  readonly #options: NodesOptions;
  /** What sd answered, the oldest in front. */
  readonly #answers = new Map<
    string,
    { readonly services: readonly SdService[]; readonly untilMs: number }
  >();
  /** Until when a node is tried last, those of longest ago in front. */
  readonly #avoided = new Map<string, number>();
  /** By tunnel, visits that no byte has come back for. */
  readonly #unanswered = new Map<string, number>();

  constructor(options: NodesOptions) {
    this.#options = options;
  }

  async connect(tunnel: string, visit: Visit, context: Context, decider: Decider): Promise<Visited> {
    if ((this.#unanswered.get(tunnel) ?? 0) >= maxUnanswered) {
      const message = `${String(maxUnanswered)} visits of the tunnel ${tunnel} are on their way to other nodes, and none has come back`;
      throw new ProxyError('loop', 'self', message, { status: 503 });
    }
    const tried = new Set<string>();
    let failure = tunnelNotAvailable(tunnel);
    for (;;) {
      const { services, isRemembered } = await this.#services(tunnel, decider);
      const others = this.#others(services, visit.network).filter(({ text }) => !tried.has(text));
      const nodes = this.#order(others);
      for (const [index, node] of nodes.entries()) {
        tried.add(node.text);
        const answered = this.#depart(tunnel);
        try {
          const conn = await this.#dial(node, index === nodes.length - 1, context);
          void conn.closed.then(answered);
          if (visit.request !== undefined) await writeTo(conn, visit.request);
          this.#avoided.delete(node.text);
          return {
            end: new AwaitedConn(conn, answered),
            where: 'elsewhere',
            path: [`${node.id}@${node.text}`],
          };
        } catch (cause) {
          answered();
          if (context.signal.aborted) throw cause;
          failure = ProxyError.from(cause);
          this.#avoid(node);
          // What was true a moment ago is not any more: whose node has gone may be at another by now.
          this.#answers.delete(tunnel);
        }
      }
      if (!isRemembered || nodes.length === 0) throw failure;
    }
  }

  async #services(
    tunnel: string,
    decider: Decider,
  ): Promise<{ readonly services: readonly SdService[]; readonly isRemembered: boolean }> {
    const { sd, now } = this.#options;
    const kept = this.#answers.get(tunnel);
    const known = kept !== undefined && kept.untilMs > now() ? kept.services : undefined;
    const services = await decider.decide<readonly SdService[]>({
      module: 'sd',
      about: tunnel,
      // As where sd knows of nobody: the tunnel is known, and cannot be reached at the moment.
      status: 503,
      ask: (call) => {
        if (known === undefined) return sd.get({ name: tunnel }, call);
        tellLocal(call, 'sd', 'get', 'remembered for a second');
        return known;
      },
      tell: (found) => ({
        outcome: found.length === 0 ? 'no' : 'yes',
        answer: found.map(({ address }) => address).join(', '),
      }),
    });
    if (known === undefined) {
      keep(
        this.#answers,
        tunnel,
        { services, untilMs: now() + rememberedMs },
        {
          most: maxRemembered,
          isOver: ({ untilMs }) => untilMs <= now(),
        },
      );
    }
    return { services, isRemembered: known !== undefined };
  }

  /** Those that are not this one, each once. */
  #others(services: readonly SdService[], network: Visit['network']): Node[] {
    const { node: here, own } = this.#options;
    const self = own();
    const found = new Map<string, Node>();
    for (const { node: id, network: carries, address: written } of services) {
      if (id === here || carries !== network) continue;
      const address = addressOf(written);
      if (address === undefined) continue;
      const text = formatAddress(address);
      if (self !== undefined && formatAddress(self) === text) continue;
      if (!found.has(text)) found.set(text, { id, address, text });
    }
    return [...found.values()];
  }

  /** Around from a random one; those that were just out of reach at the end. */
  #order(nodes: readonly Node[]): readonly Node[] {
    const { random = Math.random, now } = this.#options;
    const first = Math.floor(random() * nodes.length);
    const around = [...nodes.slice(first), ...nodes.slice(0, first)];
    const isAvoided = ({ text }: Node) => (this.#avoided.get(text) ?? 0) > now();
    return [...around.filter((node) => !isAvoided(node)), ...around.filter(isAvoided)];
  }

  async #dial({ address }: Node, isLast: boolean, context: Context): Promise<Conn> {
    const { direct } = this.#options;
    if (context.signal.aborted)
      throw new ProxyError('clientClosed', 'client', 'nobody waits for the connection any more');
    // Rules about targets do not speak of nodes.
    const free = withoutRules(context);
    return withDeadline(
      context.signal,
      isLast ? dialMs : impatientMs,
      () => address,
      (signal) => direct.dial(address, { ...free, signal }),
    );
  }

  #avoid({ text }: Node): void {
    const { now } = this.#options;
    this.#avoided.delete(text);
    keep(this.#avoided, text, now() + avoidedMs, {
      most: maxAvoided,
      isOver: (untilMs) => untilMs <= now(),
    });
  }

  /** One more is on its way; calls back when it has come back, or is over. */
  #depart(tunnel: string): () => void {
    const count = this.#unanswered;
    count.set(tunnel, (count.get(tunnel) ?? 0) + 1);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      const left = count.get(tunnel)! - 1;
      if (left === 0) count.delete(tunnel);
      else count.set(tunnel, left);
    };
  }
}

/** What is said where nobody serves the tunnel, in GOST's words. */
export function tunnelNotAvailable(tunnel: string): ProxyError {
  return new ProxyError('noRoute', 'self', `tunnel not available: ${tunnel} has no connector`, {
    status: 502,
  });
}

/** A connection of which it is told when the first byte has come back. */
class AwaitedConn extends PassedConn {
  readonly #answered: () => void;

  constructor(conn: Conn, answered: () => void) {
    super(conn);
    this.#answered = answered;
  }

  override async read(): Promise<Buffer | null> {
    const bytes = await this.conn.read();
    this.#answered();
    return bytes;
  }
}

async function writeTo(conn: Conn, request: Buffer): Promise<void> {
  try {
    await conn.write(request);
  } catch (error) {
    conn.reset();
    throw error;
  }
}

function addressOf(written: string): Address | undefined {
  try {
    const address = parseAuthority(written);
    return address.host === '' ? undefined : address;
  } catch {
    // What a node says of itself may be anything; whatever is no address leads nowhere.
    return undefined;
  }
}

/** Puts it at the end of a map, and forgets from the front what is over, and what is too much. */
function keep<V>(
  map: Map<string, V>,
  key: string,
  value: V,
  { most, isOver }: { readonly most: number; readonly isOver: (value: V) => boolean },
): void {
  map.delete(key);
  map.set(key, value);
  for (const [oldest, old] of map) {
    if (map.size <= most && !isOver(old)) break;
    map.delete(oldest);
  }
}
