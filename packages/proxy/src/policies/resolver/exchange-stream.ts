import { connect, isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { checkServerIdentity, connect as connectTls } from 'node:tls';
import type { SecureContext, TLSSocket } from 'node:tls';
import { PluginError } from '@sallyport/plugin';
import { abortable, arriving } from './exchange.ts';
import type { DialTcp, Exchange } from './exchange.ts';
import { readReply } from './message.ts';
import { unreachable } from './reasons.ts';

/** Connects directly; the system looks up a name. */
export const dialDirect: DialTcp = (host, port, signal) => {
  const socket = connect({ host, port, noDelay: true });
  return abortable<Duplex>(signal, (resolve, reject) => {
    let isOpen = false;
    socket.on('error', (error) => reject(unreachable(error)));
    socket.once('connect', () => {
      isOpen = true;
      resolve(socket);
    });
    return () => {
      if (!isOpen) socket.destroy();
    };
  });
};

/** How the server at the other end of a stream is known. */
export interface TlsPeer {
  /** The name or address in its certificate; a name is sent as SNI too. */
  readonly name: string;
  /** Made when it is first needed: the system's roots take tens of milliseconds. */
  readonly context: () => SecureContext;
  readonly alpn?: readonly string[];
}

/**
 * Speaks TLS on a stream that `dial` opens. The server is always verified. The socket belongs to the caller; the stream below
 * ends with it.
 */
export async function dialTls(
  dial: DialTcp,
  host: string,
  port: number,
  peer: TlsPeer,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const below = await arriving(dial(host, port, signal), signal);
  // From here on TLS reports what breaks below; until it listens, and after it is gone, nobody else does.
  below.on('error', () => {});
  return abortable<TLSSocket>(signal, (resolve, reject) => {
    let isOpen = false;
    const secure = connectTls({
      socket: below,
      secureContext: peer.context(),
      // RFC 6066, section 3: an IP address is no server name.
      servername: isIP(peer.name) === 0 ? peer.name : '',
      checkServerIdentity: (_host, certificate) => checkServerIdentity(peer.name, certificate),
      ...(peer.alpn !== undefined && { ALPNProtocols: [...peer.alpn] }),
    });
    secure.on('error', (error) => reject(unreachable(error)));
    secure.once('close', () => {
      below.destroy();
      reject(new PluginError('unreachable', 'it closed the connection during the TLS handshake'));
    });
    secure.once('secureConnect', () => {
      isOpen = true;
      resolve(secure);
    });
    return () => {
      if (isOpen) return;
      secure.destroy();
      below.destroy();
    };
  }).catch((error: unknown) => {
    // `connectTls` itself may throw, for roots that are none.
    below.destroy();
    throw error;
  });
}

/**
 * Asks over a byte stream, each question on a connection of its own as GOST does; a message has its length in front of it
 * (RFC 1035, section 4.2.2; RFC 7858, section 3.3).
 */
export function createStreamExchange(open: (signal: AbortSignal) => Promise<Duplex>): Exchange {
  return async (query, signal, traffic) => {
    let stream: Duplex;
    try {
      stream = await arriving(open(signal), signal);
    } catch (error) {
      throw signal.aborted ? error : unreachable(error);
    }
    // Who stopped waiting at the very moment at which it arrived cannot be asked any more.
    if (signal.aborted) stream.destroy();
    return abortable(signal, (resolve, reject) => {
      let chunks: Buffer[] = [];
      let length = 0;
      // First the length, then the message behind it: at most 64 KiB, put together twice however it trickles in.
      let wanted = 2;
      stream.on('error', (error) => reject(unreachable(error)));
      stream.on('close', () => {
        reject(new PluginError('unreachable', 'it closed the connection without an answer'));
      });
      stream.on('end', () => {
        reject(
          length === 0
            ? new PluginError('unreachable', 'it closed the connection without an answer')
            : new PluginError('badReply', 'its answer is cut short'),
        );
      });
      stream.on('data', (chunk: Buffer) => {
        traffic.received += chunk.length;
        chunks.push(chunk);
        length += chunk.length;
        if (length < wanted) return;
        const received = Buffer.concat(chunks);
        chunks = [received];
        wanted = 2 + received.readUInt16BE(0);
        if (length < wanted) return;
        try {
          const reply = readReply(received.subarray(2, wanted), query);
          if (reply.truncated) throw new PluginError('badReply', 'its answer does not fit into TCP either');
          resolve(reply);
        } catch (error) {
          reject(error);
        }
      });
      const framed = Buffer.allocUnsafe(2 + query.bytes.length);
      framed.writeUInt16BE(query.bytes.length, 0);
      query.bytes.copy(framed, 2);
      traffic.sent += framed.length;
      stream.write(framed);
      return () => {
        // What still arrives is nobody's; an error on the way out is no news.
        stream.removeAllListeners('data');
        stream.destroy();
      };
    });
  };
}
