import { formatAddress } from '../address.ts';
import type { Accept, Address, Conn, End, Ends, RemoteListening } from '../conn.ts';
import { describedConn } from '../described-conn.ts';
import { ProxyError } from '../errors.ts';
import { Handshake } from '../handshake.ts';
import { createMuxSession } from '../mux/mux-session.ts';
import type { MuxSettings } from '../mux/settings.ts';
import { plainHost } from '../socket-conn.ts';
import { malformed } from '../../wire/fault.ts';
import { parseIp } from '../../wire/ip.ts';
import type { Parse } from '../../wire/wire-reader.ts';

/** How long a node may take to say who a visitor is. It does so with the stream's first bytes. */
const defaultHeadMs = 10_000;

/** A head says two addresses, and perhaps what is not known yet. As many as there may be streams can wait for the rest of it. */
export const maxHeadBytes = 4096;

/** How long a node may take to learn that nobody new is wanted. By then it has, or visitors who are here keep the connection. */
const leaveMs = 5000;

/** Who visits, as the node says at the beginning of a stream. */
export interface VisitorHead {
  readonly source: Address | undefined;
  /** Where it wants to go, where the node says so. */
  readonly wanted?: Address | undefined;
}

/** How a node's visitors are received. */
export interface BoundStreamsOptions {
  /** Where the node listens: what visitors have as their local address. */
  readonly address: Address;
  /** As {@link RemoteListening.name}. */
  readonly name?: string;
  readonly settings: MuxSettings;
  /** Reads what a stream begins with. */
  readonly parse: Parse<VisitorHead>;
  /** What is made of a stream. Default: a connection. */
  readonly endOf?: (stream: Conn, ends: Ends) => End;
  readonly accept: Accept;
  /** Told of each visitor that could not be taken. Returns at once. Default: nobody is. */
  readonly problem?: ((error: ProxyError) => void) | undefined;
  /** From the beginning of a stream to the whole of its head, in milliseconds. Default 10,000. */
  readonly headMs?: number;
  /**
   * True: the next listener can have its place only when this one has given it up. A node that cannot be told to let nobody in any
   * more is then left at once, and visitors end with it. Default false.
   */
  readonly holdsPort?: boolean;
}

/**
 * Receives the visitors of a listener that a node holds for us, when the node has said yes: from now on it opens a stream for
 * each in a mux session over the connection, which belongs to it. A stream that does not begin as it should is reset, and only that
 * one. `close` leaves visitors that are here alone, except where {@link BoundStreamsOptions.holdsPort} says so, takes those that
 * the node brings until it has learned of it, and resolves when it has, or after 5 s.
 */
export function acceptBoundStreams(node: Conn, options: BoundStreamsOptions): RemoteListening {
  const { address, name, settings, endOf = describedConn, accept, problem } = options;
  const { headMs = defaultHeadMs, holdsPort = false } = options;
  const parse = bounded(maxHeadBytes, options.parse);
  let isClosed = false;

  const told = (cause: unknown) => {
    const { code, at, message } = ProxyError.from(cause);
    // A visitor that changed its mind, or the end of them all.
    if (code === 'upstreamClosed' || code === 'clientClosed') return;
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
      const { source, wanted } = await handshake.read(parse);
      // Rules speak of addresses, and a name is whatever its owner makes of it.
      if (source === undefined || parseIp(source.host) === undefined)
        throw malformed('upstream', 'its head does not say from which IP address');
      const remote = { host: plainHost(source.host), port: source.port };
      // What the node has proved of itself is not proved of whom it brings.
      accept(endOf(stream, { local: address, remote, tls: undefined, via: undefined, wanted }));
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
    // Whoever visits is a client here, and one that leaves is nobody's fault.
    streamSide: 'client',
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
      const learnsOfIt = session.isPeerOurs || !holdsPort;
      // One that was never used would be waited for, as it could be about to begin.
      if (learnsOfIt && (isHeard || session.streams > 0)) session.drain();
      else session.reset();
      return within(leaveMs, session.closed);
    },
  };
}

/** Resolves with the promise, or after so many milliseconds. */
async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}

/** The same, of no more than so many bytes. */
function bounded<Message>(maxBytes: number, parse: Parse<Message>): Parse<Message> {
  return (bytes) => {
    const parsed = parse(bytes);
    if ((parsed?.length ?? bytes.length) > maxBytes)
      throw malformed('upstream', `its head has more than ${String(maxBytes)} bytes`);
    return parsed;
  };
}
