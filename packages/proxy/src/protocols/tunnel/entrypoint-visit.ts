import { formatAddress } from '../../core/address.ts';
import type { Address, Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { RequestFacts, Session } from '../../core/session.ts';
import type { Laps } from './laps.ts';
import type { EntrypointOptions, Tunnels, Visit, Visited } from './tunnels.ts';

/** One visitor of an entrypoint, and where it came in. */
export interface Visitor {
  readonly session: Session;
  readonly tunnels: Tunnels;
  readonly options: EntrypointOptions;
  readonly laps: { readonly tls: Laps; readonly relay: Laps };
}

/** Where an entrypoint's visitor got. */
export interface Reached {
  readonly end: End;
  /** The other node whose entrypoint it is connected to; undefined: a connector of this node. */
  readonly redirect: string | undefined;
}

/** The status where a host leads to no tunnel, as in GOST. */
const badGateway = 502;

/** The status where the tunnel is known and nobody is at its other end, as in GOST. */
const unavailable = 503;

/**
 * The tunnel that a host leads to from outside. From now on the client counts as the tunnel. A host of a private tunnel leads
 * nowhere: what is answered is the same as where there is none. Whoever tries such hosts is held to the service's rate and rules
 * all the same. Rejects with ProxyError `noRoute`, or `couldNotAsk`, with status 502, and as {@link Session.check}.
 */
export async function publicTunnel(
  { session, tunnels, options }: Visitor,
  target: Address,
  facts: RequestFacts,
): Promise<string> {
  const host = formatAddress(target);
  const rule = await tunnels.tunnelOf(host, session, options.ingress).catch((cause: unknown) => {
    throw unasked(ProxyError.from(cause));
  });
  if (rule !== undefined && !rule.isPrivate) {
    session.identify(rule.id, true);
    return rule.id;
  }
  session.identify('');
  await session.check(target, facts);
  throw new ProxyError('noRoute', 'client', `no tunnel serves ${host}`, { status: badGateway });
}

/**
 * Opens a connection to the tunnel that the client counts as. What is told of a failure names no tunnel, since whoever knows its
 * UUID can do more than visit it; the session's events do. Rejects as {@link Session.openBy}.
 */
export async function reachTunnel(
  { session, tunnels }: Visitor,
  id: string,
  visit: Visit,
  facts: RequestFacts,
): Promise<Reached> {
  let visited: Visited | undefined;
  let failure: unknown;
  try {
    const end = await session.openBy(visit.target, facts, async (context, decider) => {
      failure = undefined;
      try {
        visited = await tunnels.visit(id, visit, context, decider);
        return visited;
      } catch (error) {
        failure = error;
        throw error;
      }
    });
    return { end, redirect: visited?.where === 'elsewhere' ? nodeOf(visited) : undefined };
  } catch (cause) {
    const error = unasked(ProxyError.from(cause));
    if (cause !== failure || error.at === 'client') throw error;
    const { code, at } = error;
    const status = code === 'noRoute' ? unavailable : error.status;
    const message = `${formatAddress(visit.target)} cannot be reached at the moment`;
    throw new ProxyError(code, at, message, { cause, ...(status !== undefined && { status }) });
  }
}

/** What carries bytes, where nothing else was asked for. */
export function connOf(end: End): Conn {
  if (end.kind === 'stream') return end;
  end.close();
  throw new ProxyError('internal', 'self', 'a tunnel gave a place for datagrams instead of a connection');
}

/** An ingress, or sd, that could not be asked leads nowhere. */
function unasked(error: ProxyError): ProxyError {
  if (error.code !== 'couldNotAsk' || error.status !== undefined) return error;
  return new ProxyError('couldNotAsk', error.at, error.message, { cause: error, status: badGateway });
}

/** The other node's UUID, as records have it. */
export function nodeOf({ path }: Visited): string {
  return path.at(-1)?.replace(/@.*$/, '') ?? '';
}
