import { once } from 'node:events';
import * as net from 'node:net';
import { RawPeer, block, frame, message } from '../../testing/raw-h2.ts';
import { flag, frameType } from './codes.ts';

export {
  RawPeer,
  block,
  frame,
  message,
  okTrailersBlock,
  reply,
  replyBlock,
  settings,
  uint32,
} from '../../testing/raw-h2.ts';
export type { Frame } from '../../testing/raw-h2.ts';

/** The headers of a gRPC request. */
export const requestFields = [
  ':method',
  'POST',
  ':scheme',
  'http',
  ':path',
  '/a.B/C',
  ':authority',
  'a',
  'content-type',
  'application/grpc',
  'te',
  'trailers',
];
export const requestBlock = block(...requestFields);

/** A whole gRPC request. */
export function request(id: number, text = 'x'): Buffer {
  return Buffer.concat([
    frame(frameType.headers, flag.endHeaders, id, requestBlock),
    frame(frameType.data, flag.endStream, id, message(text)),
  ]);
}

/** A listening server and what it accepted; everything is closed by `close`. */
export async function listenRaw(
  onSocket: (socket: net.Socket) => void,
): Promise<{ port: number; close: () => Promise<void> }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Connects a raw client. */
export async function connectRaw(port: number): Promise<RawPeer> {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return new RawPeer(socket, 'client');
}
