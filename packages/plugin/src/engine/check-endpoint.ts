import type { Socket } from 'node:net';
import type { PluginTransport } from '../contract.ts';
import { PluginError } from '../errors.ts';
import { dial } from '../wire/dial.ts';
import type { Endpoint } from '../wire/endpoint.ts';
import { formatAddress, socketError } from '../wire/socket-error.ts';

/**
 * Opens a connection of its own, shakes hands as far as the transport has a handshake (TCP, TLS, and for gRPC the SETTINGS
 * of HTTP/2; RFC 9113, section 3.4), asks nothing and closes it. Rejects with PluginError, within `timeoutMs`.
 */
export async function checkEndpoint(
  endpoint: Endpoint,
  transport: PluginTransport,
  timeoutMs: number,
): Promise<void> {
  const start = performance.now();
  const alpn = transport === 'grpc' ? 'h2' : 'http/1.1';
  const socket = await dial(endpoint, { timeoutMs, alpn: endpoint.tls === undefined ? undefined : [alpn] });
  try {
    if (transport === 'grpc') await shakeHands(endpoint, socket, timeoutMs - (performance.now() - start));
  } finally {
    endQuietly(socket);
  }
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1');
const frameHeadBytes = 9;
const settingsType = 4;

/** Each side begins with SETTINGS, so that these nine bytes tell an HTTP/2 server from every other. */
function shakeHands(endpoint: Endpoint, socket: Socket, leftMs: number): Promise<void> {
  const at = formatAddress(endpoint.connect);
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0);
    const settle = (code?: 'unreachable' | 'timeout', message = '', cause?: unknown): void => {
      clearTimeout(timer);
      socket.removeAllListeners('data');
      socket.removeListener('close', onClose);
      socket.removeListener('error', onError);
      if (code === undefined) resolve();
      else reject(new PluginError(code, message, { endpoint: endpoint.url, unsent: true, cause }));
    };
    const onClose = (): void => {
      settle('unreachable', `${at} closed the connection instead of speaking HTTP/2, which gRPC needs`);
    };
    const onError = (error: Error): void => {
      const { code, message } = socketError(endpoint, error, { during: 'connect' });
      if (code === 'unreachable') settle(code, message, error);
      else {
        settle();
        reject(socketError(endpoint, error, { during: 'connect' }));
      }
    };
    const timer = setTimeout(
      () => settle('timeout', `${at} accepts connections, but does not answer`),
      Math.max(1, leftMs),
    );
    socket.on('close', onClose);
    socket.on('error', onError);
    socket.on('data', (chunk: Buffer) => {
      head = Buffer.concat([head, chunk]);
      const wrong = foreign(head);
      if (wrong !== undefined) settle('unreachable', `${at} ${wrong}`);
      else if (head.length >= frameHeadBytes) settle();
    });
    socket.write(preface);
  });
}

/** What the first bytes are, if they are not HTTP/2. */
function foreign(head: Buffer): string | undefined {
  const text = head.toString('latin1', 0, 5);
  if (text.startsWith('HTTP/')) return 'is an HTTP/1 server, not a gRPC one: set type: http if that is meant';
  // A TLS record: an alert or a handshake message, version 3.
  if (head.length >= 2 && (head[0] === 0x15 || head[0] === 0x16) && head[1] === 3)
    return 'speaks TLS: give the plugin a tls setting';
  if (head.length < frameHeadBytes || (head[3] === settingsType && head.readUInt32BE(5) === 0))
    return undefined;
  return 'does not speak HTTP/2, which gRPC needs';
}

/** Ends with FIN rather than a reset, so that the server has nothing to complain about; it has a second to do the same. */
function endQuietly(socket: Socket): void {
  socket.once('end', () => socket.destroy());
  socket.setTimeout(1_000, () => socket.destroy());
  socket.resume();
  socket.end();
}
