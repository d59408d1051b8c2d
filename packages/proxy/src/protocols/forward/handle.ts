import { performance } from 'node:perf_hooks';
import { formatAddress } from '../../core/address.ts';
import type { Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Forwarded, Seen, Target } from '../../core/route.ts';
import type { Session } from '../../core/session.ts';
import { awaitFirstBytes, sniffFirstBytes } from '../../core/sniffing/first-bytes.ts';
import type { FirstBytes } from '../../core/sniffing/first-bytes.ts';
import { PeekedConn } from '../../core/sniffing/peeked-conn.ts';
import { serveTlsByName } from '../../core/sniffing/tls-by-name.ts';
import { defaultSniffMs } from './options.ts';
import type { HandlerMetadata } from './options.ts';
import { serveForwardedHttp, whereItCame } from './serve-http.ts';

/** How long a client whose node is only known by what it says may take to say it. */
const patienceMs = 60_000;

/** What has begun may take so long to become what it seems to be. */
const beginningMs = 15_000;

/**
 * Forwards a connection, or a peer's datagrams, to a node of the service's forwarder. With `sniffing`, HTTP and TLS are looked
 * into, checked, and bring about the choice of the node; a client that lets the server speak first is not kept waiting for
 * long. Rejects with ProxyError where it could not be forwarded or broke.
 */
export async function handleForward(client: End, session: Session, options: HandlerOptions): Promise<void> {
  const metadata = options.metadata as HandlerMetadata;
  if (client.kind === 'datagrams' || metadata.sniffing !== true) {
    return relayTo(client, session, metadata, () => session.forward());
  }
  const peeked = new PeekedConn(client);
  const first = await awaitFirstBytes(
    peeked,
    session,
    metadata.sniffingTimeoutMs || defaultSniffMs,
    beginningMs,
  );
  if (first === 'silent') return serveSilent(peeked, session, metadata);
  return serveKnown(first, peeked, session, metadata);
}

async function serveKnown(
  first: FirstBytes,
  peeked: PeekedConn,
  session: Session,
  metadata: HandlerMetadata,
): Promise<void> {
  const { idleTimeoutMs: idleMs } = metadata;
  switch (first) {
    case 'http':
      return serveForwardedHttp(peeked.settle(), session, metadata);
    case 'tls':
      return serveTlsByName(peeked, session, { timeoutMs: beginningMs, idleMs }, async ({ target }) => {
        const host = target?.host.toLowerCase() ?? '';
        const authority = target === undefined ? '' : formatAddress({ ...target, host });
        const seen: Seen = { protocol: 'tls', host, authority, path: '' };
        // Without a name all that is known of its wish is where it came.
        const { end } = await session.forward({ seen, target: target ?? whereItCame(peeked) });
        return connOf(end);
      });
    case 'ssh':
    case 'redis': {
      const seen: Seen = { protocol: first, host: '', authority: '', path: '' };
      return relayTo(peeked.settle(), session, metadata, () => session.forward({ seen }));
    }
    case 'ended':
      await peeked.end();
      return;
    case 'unfinished': {
      const message = `what the client began was not whole within ${String(beginningMs / 1000)} s`;
      throw new ProxyError('handshakeTimeout', 'client', message);
    }
    default:
      return relayTo(peeked.settle(), session, metadata, () => session.forward());
  }
}

/**
 * A client that has said nothing yet: a node is connected to, to see whether it speaks first. Where the client is the first
 * to speak after all, that connection was in vain, and the client is served by what it says.
 */
async function serveSilent(peeked: PeekedConn, session: Session, metadata: HandlerMetadata): Promise<void> {
  let forwarded: Forwarded | undefined;
  try {
    forwarded = await session.forward();
  } catch (error) {
    // Every node is for those who say what they want.
    if (ProxyError.from(error).code !== 'noRoute') throw error;
  }
  if (forwarded === undefined) {
    const first = await awaitFirstBytes(peeked, session, metadata.idleTimeoutMs || patienceMs, beginningMs);
    if (first !== 'silent') return serveKnown(first, peeked, session, metadata);
    throw new ProxyError('handshakeTimeout', 'client', 'the client did not say what it wants');
  }
  const upstream = new PeekedConn(connOf(forwarded.end));
  const speaker = await Promise.race([
    peeked.stirred().then(() => 'client' as const),
    upstream.stirred().then(() => 'upstream' as const),
    peeked.closed.then(() => 'client' as const),
  ]);
  if (speaker === 'client') {
    let first: FirstBytes;
    try {
      first = await sniffFirstBytes(peeked, 0, beginningMs);
    } catch (error) {
      upstream.reset();
      throw error;
    }
    if (first === 'http' || first === 'tls' || first === 'unfinished') {
      upstream.reset();
      return serveKnown(first, peeked, session, metadata);
    }
  }
  const { node } = forwarded;
  return relayTo(peeked.settle(), session, metadata, () => Promise.resolve({ end: upstream.settle(), node }));
}

async function relayTo(
  client: End,
  session: Session,
  { idleTimeoutMs }: HandlerMetadata,
  forward: () => Promise<Forwarded>,
): Promise<void> {
  const started = performance.now();
  let node: Target | undefined;
  let error: ProxyError | undefined;
  try {
    const forwarded = await forward();
    ({ node } = forwarded);
    const options = { ...(idleTimeoutMs !== undefined && { idleMs: idleTimeoutMs }) };
    error = await session.relay(client, forwarded.end, options);
  } catch (cause) {
    error = ProxyError.from(cause);
  }
  session.note({
    what: node === undefined ? 'forward' : `forward ${node.name}@${formatAddress(node.address)}`,
    target: node?.address,
    user: session.user,
    status: undefined,
    ms: performance.now() - started,
    error,
    ...(node !== undefined && { details: { node: node.name } }),
  });
  if (error !== undefined) throw error;
}

function connOf(end: End): Conn {
  if (end.kind === 'stream') return end;
  throw new ProxyError('internal', 'self', 'a forwarder of connections gave a place for datagrams');
}
