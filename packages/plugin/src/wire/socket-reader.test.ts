import { once } from 'node:events';
import * as net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { SocketReader } from './socket-reader.ts';

const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const close of cleanup.splice(0)) close();
});

/** A connected pair: the far end writes, the near one is read by a SocketReader. */
async function connectedPair(): Promise<{ reader: SocketReader; near: net.Socket; far: net.Socket }> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  cleanup.push(() => server.close());
  await once(server, 'listening');
  const reader = new SocketReader();
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const near = net.connect({
    ...{ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1' },
    onread: reader.onread,
  });
  cleanup.push(() => near.destroy());
  await once(near, 'connect');
  const [far] = await accepted;
  cleanup.push(() => far.destroy());
  return { reader, near, far };
}

/** Collects chunks until so many bytes have come. */
function collect(reader: SocketReader, total: number): Promise<Buffer[]> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let have = 0;
    reader.handTo((bytes) => {
      chunks.push(bytes);
      have += bytes.length;
      if (have >= total) resolve(chunks);
    });
  });
}

test('what was handed on stays as it is when more comes', async () => {
  const { reader, far } = await connectedPair();
  const sent = Buffer.alloc(1_000_000);
  for (let at = 0; at < sent.length; at++) sent[at] = at % 251;
  const received = collect(reader, sent.length);
  far.write(sent);
  const chunks = await received;
  expect(chunks.length).toBeGreaterThan(1);
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
});

test('what came before there was somebody to take it comes first', async () => {
  const { reader, near, far } = await connectedPair();
  const ended = once(near, 'end');
  near.resume();
  far.end('early');
  await ended;
  const got: string[] = [];
  reader.handTo((bytes) => got.push(bytes.toString()));
  expect(got.join('')).toBe('early');
});
