import { afterEach, expect } from 'vitest';
import { PluginError } from '../errors.ts';
import { createGrpcClient } from './grpc-client.ts';
import type { GrpcClientOptions } from './grpc-client.ts';
import type { GrpcClient, GrpcRequest } from './grpc.ts';
import { frameType } from './h2/codes.ts';
import { RawPeer, listenRaw, settings } from './h2/raw-peer.fixture.ts';

export { compressed, data, grpcFields as grpc, headers, trailers } from '../testing/raw-h2.ts';

/** What is to be closed after the test, last first. */
export const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** A client for a port of this machine; it is closed after the test. */
export function connect(port: number, options: Partial<GrpcClientOptions> = {}): GrpcClient {
  const endpoint = {
    url: `grpc://127.0.0.1:${port}`,
    connect: { host: '127.0.0.1', port },
    authority: `127.0.0.1:${port}`,
  };
  const client = createGrpcClient({ endpoint, ...options });
  opened.push(() => client.close(0));
  return client;
}

/** A server that says what the test says; `script` is called once for each connection. */
export async function serve(
  script: (peer: RawPeer, number: number) => void,
  greet = settings(),
): Promise<number> {
  let number = 0;
  const { port, close } = await listenRaw((socket) => {
    const peer = new RawPeer(socket, 'server');
    if (greet.length > 0) peer.send(greet);
    script(peer, number++);
  });
  opened.push(close);
  return port;
}

/** A server that answers every request with these bytes. */
export const answering =
  (bytes: (id: number) => Uint8Array) =>
  (peer: RawPeer): void => {
    const serveNext = async (): Promise<void> => {
      for (;;) peer.send(bytes((await peer.next(frameType.headers)).id));
    };
    // It ends with the connection.
    serveNext().catch(() => {});
  };

/** A call that any of these servers may answer. */
export const ask: GrpcRequest = { path: '/a.B/C', message: Buffer.from('x'), timeoutMs: 5000 };

/** The error of a call, which must be a PluginError with a gRPC status. */
export async function failure(promise: Promise<unknown>): Promise<PluginError> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PluginError);
  expect((error as PluginError).grpcStatus).toBeTypeOf('number');
  return error as PluginError;
}
