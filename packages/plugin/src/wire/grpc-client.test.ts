import { once } from 'node:events';
import * as net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { PluginError } from '../errors.ts';
import { createGrpcClient } from './grpc-client.ts';
import type { GrpcClientOptions } from './grpc-client.ts';
import { serveH2 } from './grpc-server.ts';
import type { H2ServeOptions } from './grpc-server.ts';
import { GrpcStatus } from './grpc.ts';
import type { GrpcClient, GrpcHandler } from './grpc.ts';

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function listen(options: Partial<H2ServeOptions> & { grpc: GrpcHandler }): Promise<number> {
  const served = new Set<ReturnType<typeof serveH2>>();
  const server = net.createServer((socket) => {
    served.add(serveH2(socket, { http: () => ({ status: 404, body: '' }), ...options }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push(async () => {
    server.close();
    await Promise.all([...served].map((one) => one.close()));
  });
  return (server.address() as net.AddressInfo).port;
}

function connect(port: number, options: Partial<GrpcClientOptions> = {}): GrpcClient {
  const endpoint = {
    url: `grpc://127.0.0.1:${port}`,
    connect: { host: '127.0.0.1', port },
    authority: `127.0.0.1:${port}`,
  };
  const client = createGrpcClient({ endpoint, ...options });
  opened.push(() => client.close(0));
  return client;
}

const bytes = (text: string): Buffer => Buffer.from(text);
const echo: GrpcHandler = ({ message }) => ({ message });

async function failure(promise: Promise<unknown>): Promise<PluginError> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PluginError);
  return error as PluginError;
}

describe('a call', () => {
  test('brings its message there and back', async () => {
    const client = connect(await listen({ grpc: echo }));
    const reply = await client.call({ path: '/a.B/C', message: bytes('hello') });
    expect(reply.message.toString()).toBe('hello');
    expect(reply.bytesSent).toBeGreaterThan(5);
    expect(reply.bytesReceived).toBeGreaterThan(5);
  });

  test('shows the handler all that was sent, and the caller all that was answered', async () => {
    const grpc: GrpcHandler = (call) => {
      expect(call.path).toBe('/a.B/C');
      expect(call.metadata).toContain('s3cret');
      expect(call.timeoutMs).toBeGreaterThan(1500);
      expect(call.timeoutMs).toBeLessThanOrEqual(2000);
      expect(call.remote).toMatch(/^127\.0\.0\.1:\d+$/);
      return { message: bytes('x'), headers: ['h', '1'], trailers: ['sallyport-ttl-ms', '5'] };
    };
    const client = connect(await listen({ grpc }));
    const reply = await client.call({
      path: '/a.B/C',
      message: Buffer.alloc(0),
      metadata: ['token', 's3cret'],
      timeoutMs: 2000,
    });
    expect(reply.headers).toEqual(expect.arrayContaining(['h', '1']));
    expect(reply.trailers).toEqual(expect.arrayContaining(['sallyport-ttl-ms', '5']));
  });

  test.each([0, 1, 4000, 16_379, 16_384, 65_535, 200_000, 1_000_000])('carries %i bytes', async (size) => {
    const client = connect(await listen({ grpc: echo }));
    const message = Buffer.alloc(size, 'abcdefgh');
    for (const gzip of [false, true]) {
      const reply = await client.call({ path: '/a.B/C', message, gzip });
      expect(reply.message.equals(message)).toBe(true);
    }
  });

  test('keeps many apart', async () => {
    const grpc: GrpcHandler = async ({ message }) => {
      if (message[0] === 0x31) await new Promise((resolve) => setImmediate(resolve));
      return { message };
    };
    const client = connect(await listen({ grpc, limits: { maxConcurrentStreams: 7 } }));
    const texts = Array.from({ length: 500 }, (_, i) => `${i}`);
    const replies = await Promise.all(
      texts.map((text) => client.call({ path: '/a.B/C', message: bytes(text) })),
    );
    expect(replies.map((reply) => reply.message.toString())).toEqual(texts);
  });

  test('fails with the status that the handler throws', async () => {
    const grpc: GrpcHandler = () => {
      throw new GrpcStatus(9, 'nö %', { details: bytes('why'), headers: ['h', '1'], trailers: ['t', '2'] });
    };
    const error = await failure(connect(await listen({ grpc })).call({ path: '/a.B/C', message: bytes('') }));
    expect(error).toMatchObject({ code: 'internal', grpcStatus: 9, details: bytes('why') });
    expect(error.message).toContain('nö %');
    expect(error.headers).toEqual(expect.arrayContaining(['h', '1']));
    expect(error.trailers).toEqual(expect.arrayContaining(['t', '2']));
  });

  test('of a handler that breaks is INTERNAL without its text', async () => {
    const grpc: GrpcHandler = () => Promise.reject(new Error('secret'));
    const error = await failure(connect(await listen({ grpc })).call({ path: '/a.B/C', message: bytes('') }));
    expect(error).toMatchObject({ code: 'internal', grpcStatus: 13 });
    expect(error.message).not.toContain('secret');
  });
});
