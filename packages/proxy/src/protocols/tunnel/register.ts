import { createHash, randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { formatAddress } from '../../core/address.ts';
import { ProxyError } from '../../core/errors.ts';
import { createMuxSession } from '../../core/mux/mux-session.ts';
import { formatRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { Exchange } from './exchange.ts';
import { askEndpoint, parseTunnelRule, setRule } from './rules.ts';
import { hostOf } from './wish.ts';
import type { TunnelWish } from './wish.ts';

/** The flag of a connector that carries datagrams. */
const udpFlag = 0x01;

/**
 * Serves a client that registers as a connector of a tunnel (BIND), for as long as its connection lives: this end opens a stream
 * for each visitor. Resolves with what ended it, undefined where that was in peace; rejects with ProxyError where it could not
 * register.
 */
export async function serveConnector(exchange: Exchange, wish: TunnelWish): Promise<ProxyError | undefined> {
  const { session, node } = exchange;
  const { tunnel } = wish;
  const startedMs = performance.now();
  session.countRequest();
  const { user, tags } = session;
  const claim = node.kept.registry.claim(tunnel, { user, tags, ttlMs: node.ttlMs });
  let freeName: (() => void) | undefined;
  try {
    const hash = createHash('md5').update(tunnel).digest('hex').slice(0, 16);
    const wanted = hostOf(wish.target);
    if (wanted !== undefined && wanted !== hash && (await isFree(exchange, wanted, tunnel)))
      freeName = node.kept.takeName(wanted, tunnel);
    const name = freeName === undefined ? hash : wanted!;
    return await stay(exchange, wish, { claim, name, hash, startedMs });
  } finally {
    freeName?.();
    claim.leave();
  }
}

/** Whether a name belongs to nobody, or to the tunnel itself. Where that cannot be found out it is not taken. */
async function isFree({ session, node }: Exchange, host: string, tunnel: string): Promise<boolean> {
  if (node.ingress === undefined) return false;
  const ask = { ingress: node.ingress.policy, service: session.service, host };
  try {
    const endpoint = await askEndpoint(ask, session);
    return endpoint === undefined || parseTunnelRule(endpoint)?.id === tunnel;
  } catch (cause) {
    const error = ProxyError.from(cause);
    // It is known by its other name, and that nobody could be asked stands in the session's decisions.
    if (error.code === 'couldNotAsk') return false;
    throw error;
  }
}

interface Place {
  readonly claim: ReturnType<Exchange['node']['kept']['registry']['claim']>;
  /** What the tunnel is known by. */
  readonly name: string;
  /** What it is known by in any case. */
  readonly hash: string;
  /** When it asked for it. */
  readonly startedMs: number;
}

async function stay(
  exchange: Exchange,
  wish: TunnelWish,
  { claim, name, hash, startedMs }: Place,
): Promise<ProxyError | undefined> {
  const { session, conn, node } = exchange;
  const { tunnel, network, weight } = wish;
  const id = randomUUID();
  const address = { host: name, port: wish.target?.port ?? 0 };
  const flags = network === 'udp' ? udpFlag : 0;
  await conn.write(
    formatRelayResponse(relayStatus.ok, [
      { type: 'addr', address },
      { type: 'tunnel', id, flags, weight },
    ]),
  );
  exchange.status = relayStatus.ok;
  const mux = createMuxSession(conn, {
    role: 'client',
    side: 'client',
    streamSide: 'upstream',
    settings: node.mux,
  });
  claim.join({
    ...{ id, network, weight },
    get isOpen() {
      return mux.isOpen;
    },
    open: () => mux.open(),
  });
  const takeBack = node.kept.announce({ id, name: tunnel, network }, node.holder);
  // A client that is told that we take leave comes again, to whoever serves by then.
  const undo = session.onStopping(() => {
    mux.drain();
  });
  try {
    publish(exchange, tunnel, name, hash);
    session.note({
      what: `BIND ${network === 'udp' ? 'udp ' : ''}${formatAddress(address)}`,
      target: undefined,
      user: session.user,
      status: relayStatus.ok,
      error: undefined,
      ms: performance.now() - startedMs,
      details: { node: node.kept.node, tunnel, connector: id, weight },
    });
    exchange.isNoted = true;
    return await mux.closed;
  } finally {
    undo();
    takeBack();
  }
}

/** Tells the ingress what the tunnel is known by; nobody waits for it. */
function publish({ session, node }: Exchange, tunnel: string, name: string, hash: string): void {
  if (node.ingress === undefined) return;
  const { policy: ingress, queue } = node.ingress;
  const { service } = session;
  setRule({ ingress, service, host: hash }, { tunnel, claims: false }, queue);
  if (name !== hash) setRule({ ingress, service, host: name }, { tunnel, claims: true }, queue);
}
