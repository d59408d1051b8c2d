import { describe, expect, test } from 'vitest';
import type { Parse } from '../wire/wire-reader.ts';
import { Handshake } from './handshake.ts';
import { memoryConnPair } from './memory-conn.fixture.ts';

/** A length and that many bytes of text. */
const parseText: Parse<string> = (bytes) => {
  const length = 1 + (bytes[0] ?? Infinity);
  return bytes.length < length ? undefined : { message: bytes.toString('latin1', 1, length), length };
};

/** We are the first end; the second is who speaks with us. */
const pair = () => memoryConnPair({ sides: ['client', 'client'] });

describe('a handshake', () => {
  test('reads message after message, and leaves the rest in the connection', async () => {
    const [conn, peer] = pair();
    const handshake = new Handshake(conn, { side: 'client', timeoutMs: 10_000 });
    await peer.write(Buffer.from('\x02ab\x01'));
    expect(await handshake.read(parseText)).toBe('ab');
    const second = handshake.read(parseText);
    await peer.write(Buffer.from('cearly'));
    expect(await second).toBe('c');
    await handshake.write(Buffer.from('answer'));
    handshake.done();
    expect((await peer.read())?.toString()).toBe('answer');
    expect((await conn.read())?.toString()).toBe('early');
  });

  test.each(['', '\x05ab'])('says that the peer left, after %j', async (said) => {
    for (const [side, code] of [
      ['client', 'clientClosed'],
      ['upstream', 'upstreamClosed'],
    ] as const) {
      const [conn, peer] = memoryConnPair({ sides: [side, side] });
      const handshake = new Handshake(conn, { side, timeoutMs: 10_000 });
      await peer.write(Buffer.from(said));
      await peer.end();
      await expect(handshake.read(parseText)).rejects.toMatchObject({ code, retryable: side === 'upstream' });
      handshake.done();
    }
  });

  test('a reset of the node is one more reason to try another', async () => {
    const [conn, peer] = memoryConnPair({ sides: ['upstream', 'upstream'] });
    const handshake = new Handshake(conn, { side: 'upstream', timeoutMs: 10_000 });
    const reading = handshake.read(parseText);
    peer.reset();
    await expect(reading).rejects.toMatchObject({ code: 'upstreamClosed', retryable: true });
  });

  test.each([
    ['client', 'handshakeTimeout'],
    ['upstream', 'upstreamTimeout'],
  ] as const)('a %s that trickles has its time over all messages', async (side, code) => {
    const [conn, peer] = memoryConnPair({ sides: [side, side] });
    const handshake = new Handshake(conn, { side, timeoutMs: 60 });
    const trickle = setInterval(() => {
      // Two bytes are a message; so no single read takes long.
      peer.write(Buffer.from('\x01a')).catch(() => undefined);
    }, 5);
    const forEver = async () => {
      for (;;) await handshake.read(parseText);
    };
    await expect(forEver()).rejects.toMatchObject({ code, at: side });
    clearInterval(trickle);
    expect(conn.isReset).toBe(true);
    await expect(handshake.write(Buffer.from('x'))).rejects.toMatchObject({ code });
  });

  test('ends when nobody waits any more, and not after it is done', async () => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const [done] = pair();
    new Handshake(done, { side: 'upstream', signal }).done();
    const [conn] = memoryConnPair({ sides: ['upstream', 'upstream'] });
    const handshake = new Handshake(conn, { side: 'upstream', signal });
    const reading = handshake.read(parseText);
    leaving.abort();
    await expect(reading).rejects.toMatchObject({ code: 'clientClosed' });
    expect([conn.isReset, done.isReset]).toEqual([true, false]);
    const [late] = pair();
    const tooLate = new Handshake(late, { side: 'upstream', signal });
    await expect(tooLate.read(parseText)).rejects.toMatchObject({ code: 'clientClosed' });
  });
});
