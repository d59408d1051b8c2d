import { createSocket } from 'node:dgram';
import type { RemoteInfo } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { PluginError } from '@sallyport/plugin';
import type { NameserverAddress } from './address.ts';
import { abortable } from './exchange.ts';
import type { Exchange, Traffic } from './exchange.ts';
import { readReply } from './message.ts';
import type { Query, Reply } from './message.ts';
import { unreachable } from './reasons.ts';

/** A datagram may get lost on its way: the same question is sent again so often while there is time. */
const resendMs = 1_500;

/**
 * Asks over UDP, each question from a port of its own that the system chooses. What comes from elsewhere, or is no answer to
 * the question, is dropped, and waiting goes on. An answer that did not fit is asked for again by `overTcp` (RFC 7766,
 * section 5).
 */
export function createUdpExchange(address: NameserverAddress, overTcp: Exchange): Exchange {
  return async (query, signal, traffic) => {
    const host = await hostOf(address, signal);
    const reply = await exchangeDatagrams(host, address.port, query, signal, traffic);
    return reply.truncated ? overTcp(query, signal, traffic) : reply;
  };
}

/** Only the name of a nameserver itself is ever looked up by the system. */
function hostOf(address: NameserverAddress, signal: AbortSignal): Promise<string> {
  if (isIP(address.host) !== 0) return Promise.resolve(address.host);
  return abortable(signal, (resolve, reject) => {
    lookup(address.host).then(
      (found) => resolve(found.address),
      (error: unknown) => reject(unreachable(error)),
    );
    // The system's lookup cannot be called back; its answer is not listened to any more.
    return () => {};
  });
}

function exchangeDatagrams(
  host: string,
  port: number,
  query: Query,
  signal: AbortSignal,
  traffic: Traffic,
): Promise<Reply> {
  let dropped = 0;
  const exchanged = abortable<Reply>(signal, (resolve, reject) => {
    const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4');
    let resend: NodeJS.Timeout | undefined;
    let server: { readonly address: string; readonly port: number } | undefined;
    const send = () => {
      traffic.sent += query.bytes.length;
      socket.send(query.bytes, (error) => {
        if (error) reject(unreachable(error));
      });
    };
    socket.on('error', (error) => reject(unreachable(error)));
    socket.on('message', (bytes: Buffer, from: RemoteInfo) => {
      // The system filters too, but not what arrived before the socket was connected.
      if (from.address !== server?.address || from.port !== server.port) {
        dropped++;
        return;
      }
      traffic.received += bytes.length;
      try {
        resolve(readReply(bytes, query));
      } catch (error) {
        if (!(error instanceof PluginError)) throw error;
        dropped++;
      }
    });
    // Connected, so that "nothing listens there" is heard at once, and not after the time is over.
    socket.connect(port, host, (error?: Error) => {
      if (error !== undefined) {
        reject(unreachable(error));
        return;
      }
      server = socket.remoteAddress();
      send();
      resend = setInterval(send, resendMs);
    });
    return () => {
      clearInterval(resend);
      socket.close();
    };
  });
  return exchanged.catch((error: unknown) => {
    if (dropped === 0 || !(error instanceof PluginError) || error.code !== 'timeout') throw error;
    const what =
      dropped === 1
        ? 'a datagram that was no answer was'
        : `${String(dropped)} datagrams that were no answer were`;
    throw new PluginError('timeout', `${error.message}; ${what} dropped`, { cause: error });
  });
}
