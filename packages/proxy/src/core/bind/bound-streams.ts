import { formatAddress } from '../address.ts';
import type { Accept, Address, Conn, RemoteListening } from '../conn.ts';
import { describedConn } from '../described-conn.ts';
import { ProxyError } from '../errors.ts';
import { Handshake } from '../handshake.ts';
import { createMuxSession } from '../mux/mux-session.ts';
import type { MuxSettings } from '../mux/settings.ts';
import { malformed } from '../../wire/fault.ts';
import type { Parse } from '../../wire/wire-reader.ts';

/** How long a node may take to say whose a stream is. */
const headMs = 10_000;

/** Two addresses with the longest names, and as much again of what is not known yet. Streams that say nothing are many. */
const maxHeadBytes = 1024;

/** Whose a stream is, as the node says at its beginning. */
export interface VisitorHead {
  readonly visitor: Address;
  /** Where the visitor wants to go, where the node knows. */
  readonly wanted?: Address;
}

/** How visitors come from a node. */
export interface BoundStreamsOptions {
  readonly node: Address;
  /** Where the node listens. */
  readonly bound: Address;
  readonly mux: MuxSettings;
  /** Reads what a stream begins with. */
  readonly parse: Parse<VisitorHead>;
  readonly accept: Accept;
}

/**
 * A listener at a node that brings each visitor in a stream of a mux within our connection with it, in which we are the server, as
 * in GOST. Of a stream that does not begin as it should within 10 s and 1,024 bytes nobody is told; it is reset, and the others go on.
 * After `close` a Sallyport listens no more, and who is there may finish; any other node is left, because it would listen on for
 * nobody for as long as one visitor stays.
 */
export function acceptBoundStreams(conn: Conn, options: BoundStreamsOptions): RemoteListening {
  const { node, bound, accept } = options;
  const parse = within(maxHeadBytes, options.parse);
  let isClosed = false;
  const begin = async (stream: Conn) => {
    const handshake = new Handshake(stream, { side: 'upstream', timeoutMs: headMs });
    try {
      const { visitor, wanted } = await handshake.read(parse);
      // What the node proved of itself is not proved of its visitors.
      accept(
        describedConn(stream, { local: bound, remote: visitor, wanted, tls: undefined, via: undefined }),
      );
    } catch {
      // Nobody has heard of it yet, and the next may be well.
      stream.reset();
    } finally {
      handshake.done();
    }
  };
  const mux = createMuxSession(conn, {
    role: 'server',
    side: 'upstream',
    settings: options.mux,
    accept: (stream) => {
      if (isClosed) stream.reset();
      else void begin(stream);
    },
  });
  const lost = new Promise<ProxyError>((resolve) => {
    void mux.closed.then((error) => {
      if (isClosed) return;
      const where = `the listener at ${formatAddress(bound)}`;
      resolve(
        error ??
          new ProxyError('upstreamClosed', 'upstream', `the node ${formatAddress(node)} ended ${where}`),
      );
    });
  });
  return {
    address: bound,
    lost,
    close() {
      isClosed = true;
      if (mux.isPeerOurs) mux.drain();
      else mux.reset();
      return Promise.resolve();
    },
  };
}

/** The same, of no more than so many bytes. */
function within<Message>(maxBytes: number, parse: Parse<Message>): Parse<Message> {
  return (bytes) => {
    const parsed = parse(bytes);
    if ((parsed?.length ?? bytes.length) > maxBytes)
      throw malformed('upstream', `the stream begins with more than ${String(maxBytes)} bytes`);
    return parsed;
  };
}
