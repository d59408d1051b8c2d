import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Conn } from './conn.ts';
import { lingeringClose } from './linger.ts';
import { createSocketConn } from './socket-conn.ts';

const open: { destroy(): unknown }[] = [];
const servers: net.Server[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** A Conn, and the plain socket at its other end. */
async function pair(): Promise<{ conn: Conn; peer: Socket }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const peer = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  peer.on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [Socket];
  open.push(peer, socket);
  return { conn: createSocketConn(socket, { side: 'client' }), peer };
}

function closeOf(socket: Socket): Promise<'broken' | 'well'> {
  return new Promise((resolve) => socket.once('close', (broken) => resolve(broken ? 'broken' : 'well')));
}

async function readAll(conn: Conn): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) parts.push(bytes);
  return Buffer.concat(parts);
}

describe('a Conn over a socket', () => {
  test('reads, puts back, writes, and keeps each direction open by itself', async () => {
    const { conn, peer } = await pair();
    peer.write('hello');
    expect(String(await conn.read())).toBe('hello');
    conn.unread(Buffer.from('lo'));
    conn.unread(Buffer.alloc(0));
    expect(String(await conn.read())).toBe('lo');
    peer.end('last');
    expect(String(await readAll(conn))).toBe('last');
    expect(await conn.read()).toBeNull();
    await conn.write(Buffer.from('still open'));
    await conn.end();
    peer.setEncoding('utf8');
    expect(await once(peer, 'data')).toEqual(['still open']);
    await conn.closed;
    expect(conn.remote).toEqual({ host: '127.0.0.1', port: peer.localPort });
  });

  test('holds back a peer that sends more than is read', async () => {
    const { conn, peer } = await pair();
    const block = Buffer.alloc(64 << 20, 'x');
    peer.write(block);
    peer.end();
    // The peer's socket cannot be rid of 64 MiB while nobody reads.
    await conn.read();
    expect(peer.writableLength).toBeGreaterThan(0);
    let total = 0;
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) total += bytes.length;
    expect(total).toBeGreaterThan(63 << 20);
  });

  test('a write waits for a peer that reads slowly, and end for the last byte', async () => {
    const { conn, peer } = await pair();
    peer.pause();
    const written = conn.write(Buffer.alloc(32 << 20, 'y'));
    const ended = conn.end();
    let isWritten = false;
    void written.then(() => (isWritten = true));
    await conn.write(Buffer.alloc(0)).catch(() => undefined);
    expect(isWritten).toBe(false);
    let total = 0;
    peer.on('data', (bytes) => (total += bytes.length)).resume();
    await Promise.all([written, ended, once(peer, 'end')]);
    expect(total).toBe(32 << 20);
  });

  test('parts go in one piece and wait for the peer as a single write does', async () => {
    const { conn, peer } = await pair();
    peer.setEncoding('utf8');
    await conn.writeParts!(['one ', '', 'two ', 'three'].map((part) => Buffer.from(part)));
    expect(await once(peer, 'data')).toEqual(['one two three']);
    peer.pause();
    let isWritten = false;
    // More than the kernel holds.
    const written = conn.writeParts!(Array.from({ length: 64 }, () => Buffer.alloc(256 * 1024, 'x')));
    void written.then(() => (isWritten = true));
    await new Promise(setImmediate);
    expect(isWritten).toBe(false);
    let got = 0;
    peer.on('data', (text: string) => (got += text.length)).resume();
    await written;
    await conn.end();
    await once(peer, 'end');
    expect(got).toBe(64 * 256 * 1024);
    await expect(conn.writeParts!([Buffer.from('late')])).rejects.toMatchObject({ code: 'internal' });
    peer.destroy();
    await conn.closed;
    await expect(conn.writeParts!([Buffer.from('later')])).rejects.toMatchObject({ code: 'clientClosed' });
  });

  test('a reset by the peer is seen although nobody reads, and told once what came before was read', async () => {
    const { conn, peer } = await pair();
    peer.write('before');
    expect(String(await conn.read())).toBe('before');
    peer.resetAndDestroy();
    await conn.closed;
    await expect(conn.read()).rejects.toMatchObject({ code: 'clientClosed', at: 'client' });
    await expect(conn.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'clientClosed' });
    await conn.end();
  });

  test('our reset ends a read that waits, and the peer sees it as one', async () => {
    const { conn, peer } = await pair();
    peer.resume();
    const failed = closeOf(peer);
    const reading = conn.read();
    conn.reset();
    conn.reset();
    await expect(reading).rejects.toMatchObject({ code: 'clientClosed' });
    expect(await failed).toBe('broken');
  });

  test('a reset right after an end closes the connection, whatever still waits to be sent', async () => {
    for (const bytes of [0, 1, 32 << 20]) {
      const { conn, peer } = await pair();
      peer.pause();
      void conn.write(Buffer.alloc(bytes)).catch(() => undefined);
      void conn.end();
      conn.reset();
      await conn.closed;
      await conn.end();
    }
  });

  test('a second reader is a mistake that is told', async () => {
    const { conn, peer } = await pair();
    const first = conn.read();
    await expect(conn.read()).rejects.toMatchObject({ code: 'internal' });
    peer.end('x');
    expect(String(await first)).toBe('x');
    await conn.end();
  });

  test('as a Duplex it pipes, ends and is destroyed', async () => {
    const { conn, peer } = await pair();
    conn.unread(Buffer.from('un'));
    const { stream } = conn;
    expect(conn.stream).toBe(stream);
    peer.end('read');
    stream.pipe(stream);
    peer.setEncoding('utf8');
    let echo = '';
    peer.on('data', (text: string) => (echo += text));
    await once(peer, 'end');
    expect(echo).toBe('unread');
    const other = await pair();
    other.peer.resume();
    const closed = closeOf(other.peer);
    other.conn.stream.on('error', () => undefined).destroy(new Error('enough'));
    expect(await closed).toBe('broken');
  });
});

describe('a socket that is taken away', () => {
  test('comes paused, with all that was read and not taken', async () => {
    const { conn, peer } = await pair();
    peer.write('hello');
    const read = await conn.read();
    conn.unread(read!.subarray(3));
    conn.unread(Buffer.from('1'));
    const socket = conn.detach!()!;
    expect(socket.isPaused()).toBe(true);
    peer.end(' and more');
    let text = '';
    socket.on('data', (bytes) => (text += String(bytes))).resume();
    await once(socket, 'end');
    expect(text).toBe('1lo and more');
    socket.end();
    await conn.closed;
  });

  test('is still reset with the connection, and told when it has closed', async () => {
    const { conn, peer } = await pair();
    peer.resume();
    const socket = conn.detach!()!;
    const failed = closeOf(peer);
    conn.reset();
    expect(socket.destroyed).toBe(false);
    await conn.closed;
    expect(await failed).toBe('broken');
  });

  test('is not given away where somebody uses it, or it has ended', async () => {
    const waiting = await pair();
    const reading = waiting.conn.read();
    expect(waiting.conn.detach!()).toBeUndefined();
    waiting.peer.write('x');
    expect(String(await reading)).toBe('x');
    const streaming = await pair();
    expect(streaming.conn.stream).toBeDefined();
    expect(streaming.conn.detach!()).toBeUndefined();
    const ended = await pair();
    ended.peer.end('last');
    expect(String(await readAll(ended.conn))).toBe('last');
    expect(ended.conn.detach!()).toBeUndefined();
    const reset = await pair();
    reset.conn.reset();
    expect(reset.conn.detach!()).toBeUndefined();
  });
});

describe('a lingering close', () => {
  test('lets a peer that still sends read the last words', async () => {
    const { conn, peer } = await pair();
    peer.write(Buffer.alloc(500_000));
    peer.setEncoding('utf8');
    await conn.write(Buffer.from('last words'));
    const closed = lingeringClose(conn);
    expect(await once(peer, 'data')).toEqual(['last words']);
    peer.end();
    await closed;
  });

  test('is over when the peer sends without an end, or stays', async () => {
    const sending = await pair();
    sending.peer.on('data', () => undefined).write(Buffer.alloc(4 << 20));
    await lingeringClose(sending.conn);
    const staying = await pair();
    staying.peer.resume();
    await lingeringClose(staying.conn, { ms: 20 });
    await staying.conn.closed;
  });
});
