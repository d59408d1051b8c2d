import { acceptBoundDatagrams } from '../../core/bind/bound-datagrams.ts';
import { acceptBoundStreams } from '../../core/bind/bound-streams.ts';
import type { VisitorHead } from '../../core/bind/bound-streams.ts';
import type { Accept, Conn, RemoteListening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { muxSettings } from '../../core/mux/options.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import type { BindRequest, Context } from '../../core/way.ts';
import { malformed } from '../../wire/fault.ts';
import { parseSocks5Reply, socks5Codes, socks5Commands } from '../../wire/socks5.ts';
import type { Parsed } from '../../wire/wire-reader.ts';
import { askSocks5 } from './connect.ts';
import type { ConnectorMetadata } from './options.ts';

/**
 * Asks a SOCKS5 node of GOST's kind to listen in our name, by MUX-BIND for connections and by UDP-TUN for datagrams; GOST's needs
 * `bind: true`. Rejects as {@link Connector.bind}; with `unsupported` for datagrams at a port that the node may choose, as nodes
 * take that for datagrams that we want to send.
 */
export function bindSocks5(
  node: Conn,
  request: BindRequest,
  accept: Accept,
  options: ConnectorOptions,
  context: Context,
): Promise<RemoteListening> {
  const { network, peerTtlMs, problem } = request;
  const { host, port } = request.address;
  if (network === 'udp' && port === 0) {
    node.reset();
    const message =
      'to listen for datagrams at a SOCKS5 node a port has to be named; it takes 0 for something else';
    return Promise.reject(new ProxyError('unsupported', 'self', message));
  }
  // An empty host is said as GOST says it.
  const address = { host: host === '' ? '0.0.0.0' : host, port };
  const command = network === 'udp' ? socks5Commands.udpTunnel : socks5Commands.muxBind;
  return askSocks5(node, { command, address }, options, context, ({ conn, bound }) => {
    const settings = muxSettings(options.metadata as ConnectorMetadata, 1);
    return Promise.resolve(
      network === 'udp'
        ? acceptBoundDatagrams(conn, { address: bound, accept, peerTtlMs })
        : acceptBoundStreams(conn, {
            ...{ address: bound, settings, parse: parseHead, accept, problem },
            holdsPort: true,
          }),
    );
  });
}

function parseHead(bytes: Buffer): Parsed<VisitorHead> | undefined {
  const parsed = parseSocks5Reply(bytes);
  if (parsed === undefined) return undefined;
  const { code, bound: source } = parsed.message;
  if (code !== socks5Codes.succeeded)
    throw malformed('upstream', `its head says ${String(code)} instead of 0`);
  return { message: { source }, length: parsed.length };
}
