import { createHash, timingSafeEqual } from 'node:crypto';
import { headerValue } from '@sallyport/plugin/wire';
import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { requestAuthority } from '../../core/http/authority.ts';
import { parseBasic } from '../../core/http/credentials.ts';
import { exchange } from '../../core/http/exchange.ts';
import { nodeOutgoing } from '../../core/http/node-http.ts';
import type { Opened, Origin, Origins } from '../../core/http/origins.ts';
import type { Outgoing } from '../../core/http/outgoing.ts';
import type { HttpRequest } from '../../core/http/request.ts';
import { serveRequests } from '../../core/http/serve-requests.ts';
import type { Target } from '../../core/route.ts';
import type { ForwardFacts, Session } from '../../core/session.ts';
import type { HandlerMetadata } from './options.ts';

/**
 * Forwards the requests of a connection, one after the other, each checked by the host and path that it names and each sent to
 * the node that it brings about. A connection to a node is used again where the next request is for the same one.
 */
export function serveForwardedHttp(client: Conn, session: Session, metadata: HandlerMetadata): Promise<void> {
  const { idleTimeoutMs: idleMs } = metadata;
  return serveRequests(client, session, {
    idleMs,
    serve: (request, origins) => serveOne(client, session, metadata, request, origins),
  });
}

function serveOne(
  client: Conn,
  session: Session,
  { keepalive, readTimeoutMs, idleTimeoutMs }: HandlerMetadata,
  request: HttpRequest,
  origins: Origins,
): Promise<boolean> {
  const { target, host, isForProxy, seen } = requestAuthority(request.head);
  // Without a name all that is known of its wish is where it came.
  const asked = target ?? whereItCame(client);
  request.target = target;
  return exchange({
    client,
    session,
    origins,
    request,
    where: target === undefined ? 'the node' : formatAddress(target),
    answerMs: readTimeoutMs,
    keepsAlive: keepalive,
    idleMs: idleTimeoutMs,
    reach: () => origins.use((kept) => chooseNode(session, { seen, ...(asked && { target: asked }) }, kept)),
    outgoing: ({ node }: Origin): Outgoing => {
      if (node !== undefined) request.node = node.name;
      const plain: Outgoing = {
        target: request.head.target,
        host,
        isForProxy,
        closes: keepalive === false,
        ...(node !== undefined && { failed: (status) => failed(node, status) }),
      };
      if (node?.http === undefined) return plain;
      authenticate(request, node);
      return nodeOutgoing(plain, node.http, request, session);
    },
  });
}

/** The node for one request, and a connection to it: the kept one, where it leads to the same node. */
async function chooseNode(session: Session, facts: ForwardFacts, kept: Opened | undefined): Promise<Opened> {
  const reuse = (node: Target): Conn | undefined => {
    const before = kept?.node;
    return before !== undefined && isSameNode(before, node) ? kept?.conn : undefined;
  };
  const { end, node } = await session.forward({ ...facts, reuse });
  if (end.kind !== 'stream')
    throw new ProxyError('internal', 'self', 'a forwarder of connections gave a place for datagrams');
  return { conn: end, key: '', node };
}

function isSameNode(a: Target, b: Target): boolean {
  return a.name === b.name && formatAddress(a.address) === formatAddress(b.address) && a.tls === b.tls;
}

/** What `failCodes` names is a failure of the node, though the client gets it as it is. */
function failed(node: Target, status: number): boolean {
  if (node.http?.failed(status) !== true) return false;
  const message = `node ${node.name} answered with ${String(status)}`;
  node.failed(new ProxyError('badUpstreamReply', 'upstream', message, { status: 502 }));
  return true;
}

/** Throws `wrongCredentials` where the node's settings want others. */
function authenticate({ head }: HttpRequest, { http }: Target): void {
  if (http?.auth === undefined) return;
  const { username, password } = parseBasic(headerValue(head.headers, 'authorization'));
  // Both are compared whatever the first one comes to.
  const isUser = sameText(username, http.auth.username);
  const isPassword = sameText(password, http.auth.password);
  if (isUser && isPassword) return;
  const message = 'the user name and password that the node wants were not given';
  throw new ProxyError('wrongCredentials', 'client', message, { status: 401 });
}

/** Takes as long for what is nearly right as for what is not. */
function sameText(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** The address that the client connected to; undefined where it is a path. */
export function whereItCame({ local }: Conn): Address | undefined {
  return local.port === 0 ? undefined : local;
}
