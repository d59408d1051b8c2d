import { headerTokens, headerValue } from '@sallyport/plugin/wire';
import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { requestAuthority } from '../../core/http/authority.ts';
import { exchange } from '../../core/http/exchange.ts';
import { editFields } from '../../core/http/fields.ts';
import type { Opened, Origins } from '../../core/http/origins.ts';
import type { HttpRequest } from '../../core/http/request.ts';
import { serveRequests } from '../../core/http/serve-requests.ts';
import type { RequestFacts } from '../../core/session.ts';
import { formatUuid, parseUuid } from '../../wire/uuid.ts';
import { connOf, publicTunnel, reachTunnel } from './entrypoint-visit.ts';
import type { Visitor } from './entrypoint-visit.ts';

/** The session of the node that a visitor came to first, for whoever looks for a request in several logs. */
const sessionField = 'Gost-Sid';

/** The nodes that a request has come through. GOST writes itself alone, and reads a list. */
const nodesField = 'Gost-Forwarded-Node';

/** More nodes than this on the way to a tunnel are no way to it. */
const maxNodes = 8;

/** A connection to a tunnel, and the other node that it leads to, if it does. */
interface Stream extends Opened {
  readonly redirect: string | undefined;
}

/**
 * Serves the requests of a visitor's connection, each of which goes to the tunnel that its own host leads to. A request that has
 * been here before is answered with 503, one whose host leads to no tunnel, or to a private one, with 502. With `keepAlive` a
 * tunnel's stream serves the next request for the same host; the visitor's connection is kept in any case. Rejects as
 * {@link serveRequests}.
 */
export function serveEntrypointHttp(client: Conn, visitor: Visitor): Promise<void> {
  const { session, options } = visitor;
  return serveRequests(client, session, {
    headMs: options.readTimeoutMs,
    serve: (request, origins) => serveOne(client, visitor, request, origins),
  });
}

async function serveOne(
  client: Conn,
  visitor: Visitor,
  request: HttpRequest,
  origins: Origins,
): Promise<boolean> {
  const { session, tunnels, options } = visitor;
  const { head } = request;
  if (head.method === 'CONNECT') {
    const message = 'CONNECT is for a proxy; here the target is spoken to';
    throw new ProxyError('unsupported', 'client', message, { status: 501 });
  }
  const { target, host, seen, isForProxy } = requestAuthority(head);
  if (target === undefined)
    throw new ProxyError('malformedRequest', 'client', 'the request names no host', { status: 400 });
  request.target = target;
  request.facts = { node: tunnels.node };
  const nodes = nodesOf(head.headers);
  if (nodes.includes(tunnels.node) || nodes.length >= maxNodes) {
    const message = 'the request has come back to a node that it went through';
    throw new ProxyError('loop', 'client', message, { status: 503 });
  }
  const where = formatAddress(target);
  const before = session.user;
  const id = await publicTunnel(visitor, target, { seen });
  // Of whoever has counted as somebody else the limits have to be asked for again.
  const mayReuse = options.keepAlive && before === id;
  return exchange({
    client,
    session,
    origins,
    request,
    where,
    answerMs: options.readTimeoutMs,
    // A connector, or a node, may have gone just now, and others may be there.
    mayGoElsewhere: true,
    reach: () =>
      origins.use(async (kept) => {
        const usable = mayReuse ? (kept as Stream | undefined) : undefined;
        const stream = await reach(visitor, id, target, { seen }, usable);
        if (stream.redirect !== undefined) request.facts = { ...request.facts, redirect: stream.redirect };
        return stream;
      }),
    outgoing: () => ({
      target: isForProxy ? pathOf(head.target, head.method) : head.target,
      host,
      closes: !options.keepAlive,
      editRequest(fields) {
        editFields(fields, [
          [sessionField, headerValue(fields, 'gost-sid') || session.id],
          [nodesField, [...nodes, tunnels.node].join(', ')],
        ]);
      },
    }),
  });
}

/** A stream to the tunnel for one request: the kept one, where it leads to the same host by the same tunnel. */
async function reach(
  visitor: Visitor,
  id: string,
  target: Address,
  facts: RequestFacts,
  kept: Stream | undefined,
): Promise<Stream> {
  const { session } = visitor;
  const key = `${id} ${formatAddress(target)}`;
  if (kept?.key === key) {
    await session.check(target, facts);
    return kept;
  }
  const { end, redirect } = await reachTunnel(
    visitor,
    id,
    { network: 'tcp', source: session.client, target },
    facts,
  );
  return { conn: connOf(end), key, redirect };
}

/** What else stands there is no node's name. */
function nodesOf(headers: readonly string[]): string[] {
  const nodes: string[] = [];
  for (const token of headerTokens(headers, 'gost-forwarded-node')) {
    const uuid = parseUuid(token);
    if (uuid !== undefined) nodes.push(formatUuid(uuid));
  }
  return nodes;
}

/** A whole URL is for proxies; the origin is asked for the path (RFC 9112, section 3.2). */
function pathOf(url: string, method: string): string {
  const path = url.replace(/^[^:]*:\/\/[^/?]*/, '');
  if (path === '' && method === 'OPTIONS') return '*';
  return path.startsWith('/') ? path : `/${path}`;
}
