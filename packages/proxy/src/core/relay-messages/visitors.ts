import { formatAddress } from '../address.ts';
import type { Accept, Address, Conn, RemoteListening } from '../conn.ts';
import { describedConn, describedDatagrams } from '../described-conn.ts';
import { ProxyError } from '../errors.ts';
import { Handshake } from '../handshake.ts';
import { createMuxSession } from '../mux/mux-session.ts';
import type { MuxSettings } from '../mux/settings.ts';
import { plainHost } from '../socket-conn.ts';
import { malformed } from '../../wire/fault.ts';
import { parseIp } from '../../wire/ip.ts';
import { parseRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { RelayResponse } from '../../wire/relay.ts';
import type { Parse } from '../../wire/wire-reader.ts';
import { createRelayDatagrams } from './datagrams.ts';

/** How long a node may take to say who a visitor is. It does so with the stream's first bytes. */
const defaultHeadMs = 10_000;

/** A head says two addresses, and perhaps what is not known yet. As many as there may be streams can wait for the rest of it. */
const maxHeadBytes = 4096;

/** How a node's visitors are received. */
export interface VisitorsOptions {
  /** With `udp` a visitor's stream holds its datagrams, each behind its length. */
  readonly network: 'tcp' | 'udp';
  /** Where the node listens: what visitors have as their local address. */
  readonly address: Address;
  /** As {@link RemoteListening.name}. */
  readonly name?: string;
  readonly settings: MuxSettings;
  readonly accept: Accept;
  /** Told of each visitor that could not be taken. Returns at once. Default: nobody is. */
  readonly problem?: ((error: ProxyError) => void) | undefined;
  /** From the beginning of a stream to the whole of its head, in milliseconds. Default 10,000. */
  readonly headMs?: number;
}

/**
 * Receives the visitors of a listener that a node holds for us, when the node has said yes: from now on it opens a stream for
 * each in a mux session over the connection, which belongs to it (so GOST's BIND over relay and tunnel). A stream begins with an
 * answer of the relay protocol that holds the visitor's address and, in tunnels, what it wants; one that does not is reset, and
 * only that one. `close` leaves visitors that are here alone, and takes those that the node brings until it has learned of it.
 */
export function receiveVisitors(node: Conn, options: VisitorsOptions): RemoteListening {
  const { network, address, name, settings, accept, problem, headMs = defaultHeadMs } = options;
  let isClosed = false;

  const told = (cause: unknown) => {
    const { code, at, message } = ProxyError.from(cause);
    // A visitor that changed its mind, or the end of them all.
    if (code === 'upstreamClosed') return;
    const what =
      code === 'upstreamTimeout'
        ? `the node did not say who it is within ${String(headMs / 1000)} s`
        : message;
    const why = `a visitor at ${formatAddress(node.remote)} was not taken: ${what}`;
    problem?.(new ProxyError(code, at, why, { cause }));
  };
  const receive = async (stream: Conn) => {
    const handshake = new Handshake(stream, { side: 'upstream', timeoutMs: headMs });
    try {
      const { source, wanted } = visitorOf(await handshake.read(parseHead));
      const ends = { local: address, remote: source, tls: undefined, via: undefined, wanted };
      accept(
        network === 'tcp'
          ? describedConn(stream, ends)
          : describedDatagrams(createRelayDatagrams(stream, source), ends),
      );
    } catch (cause) {
      stream.reset();
      told(cause);
    } finally {
      handshake.done();
    }
  };

  let isHeard = false;
  const session = createMuxSession(node, {
    role: 'server',
    side: 'upstream',
    settings,
    accept: (stream) => void receive(stream),
  });
  void session.heard.then(() => (isHeard = true));
  const lost = new Promise<ProxyError>((resolve) => {
    void session.closed.then((error) => {
      const message = `the node ${formatAddress(node.remote)} does not listen for us any more`;
      const { code, at } = error ?? { code: 'upstreamClosed', at: 'upstream' };
      const why = error === undefined ? 'it ended the connection' : error.message;
      if (!isClosed)
        resolve(new ProxyError(code, at, `${message}: ${why}`, { cause: error, retryable: true }));
    });
  });
  return {
    address,
    ...(name !== undefined && { name }),
    lost,
    close() {
      isClosed = true;
      // One that was never used would be waited for, as it could be about to begin.
      if (isHeard || session.streams > 0) session.drain();
      else session.reset();
      return Promise.resolve();
    },
  };
}

/** The head of a stream. */
const parseHead: Parse<RelayResponse> = (bytes) => {
  if (bytes.length >= 4 && bytes[0] === 1 && bytes.readUInt16BE(2) > maxHeadBytes)
    throw malformed('upstream', `its head has more than ${String(maxHeadBytes)} bytes`);
  return parseRelayResponse(bytes);
};

/** Who visits, and what is wanted. Throws ProxyError `badUpstreamReply` where it does not say. */
function visitorOf({ status, features }: RelayResponse): { source: Address; wanted: Address | undefined } {
  if (status !== relayStatus.ok) throw malformed('upstream', `its head says ${String(status)} instead of 0`);
  const [source, wanted] = features.flatMap((one) => (one.type === 'addr' ? [one.address] : []));
  // Rules speak of addresses, and a name is whatever its owner makes of it.
  if (source === undefined || parseIp(source.host) === undefined)
    throw malformed('upstream', 'its head does not say from which IP address');
  return {
    source: { host: plainHost(source.host), port: source.port },
    wanted: wanted?.port === 0 ? undefined : wanted,
  };
}
