import { describe, expect, test } from 'vitest';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import { glueConn } from './glued-conn.ts';

const head = Buffer.from('head ');

function scene(before?: () => Promise<void>) {
  const [peer, under] = memoryConnPair();
  const conn = glueConn(under, { head, ...(before !== undefined && { before }) });
  const next = async () => (await peer.read())?.toString();
  return { peer, under, conn, next };
}

describe('the head', () => {
  test('goes in one piece with what is written at once, and once', async () => {
    const { conn, next } = scene();
    await conn.write(Buffer.from('first'));
    await conn.write(Buffer.from('second'));
    expect(await next()).toBe('head first');
    expect(await next()).toBe('second');
    await conn.end();
    expect(await next()).toBeUndefined();
  });

  test('goes by itself when nothing is written', async () => {
    const { conn, next } = scene();
    expect(await next()).toBe('head ');
    await conn.write(Buffer.from('late'));
    expect(await next()).toBe('late');
  });

  test('goes before the end', async () => {
    const { conn, next } = scene();
    await conn.end();
    expect(await next()).toBe('head ');
    expect(await next()).toBeUndefined();
  });

  test('does not outlive a reset, nor hurt a connection that broke', async () => {
    const { conn, peer } = scene();
    conn.reset();
    await expect(peer.read()).rejects.toMatchObject({ code: 'clientClosed' });
    const broken = scene();
    broken.peer.reset();
    await expect(broken.conn.read()).rejects.toMatchObject({ code: 'upstreamClosed' });
    await expect(broken.conn.write(head)).rejects.toMatchObject({ code: 'upstreamClosed' });
  });

  test('goes before what a library writes', async () => {
    const { conn, next, peer } = scene();
    conn.stream.end('by stream');
    expect(await next()).toBe('head by stream');
    await peer.write(Buffer.from('answer'));
    await peer.end();
    let got = '';
    for await (const bytes of conn.stream) got += String(bytes);
    expect(got).toBe('answer');
  });
});

describe('what has to be read before', () => {
  test('is read once, and what follows it stays', async () => {
    let reads = 0;
    const { peer, under, conn } = scene(async () => {
      reads++;
      const bytes = await under.read();
      under.unread(bytes!.subarray(2));
    });
    await peer.write(Buffer.from('OKrest'));
    expect((await conn.read())?.toString()).toBe('rest');
    conn.unread(Buffer.from('back'));
    expect((await conn.read())?.toString()).toBe('back');
    expect(reads).toBe(1);
  });

  test('is an error for every read where it is none', async () => {
    const { conn } = scene(() => Promise.reject(new Error('no')));
    await expect(conn.read()).rejects.toThrow('no');
    await expect(conn.read()).rejects.toThrow('no');
  });
});
