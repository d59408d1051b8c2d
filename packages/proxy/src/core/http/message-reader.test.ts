import fc from 'fast-check';
import { bodyFraming } from '@sallyport/plugin/wire';
import { describe, expect, test } from 'vitest';
import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import { MessageReader } from './message-reader.ts';

/** A connection whose bytes are said by hand. */
function fakeConn() {
  const queue: (Buffer | null | ProxyError)[] = [];
  let waiter: (() => void) | undefined;
  const conn = {
    async read() {
      while (queue.length === 0) await new Promise<void>((resolve) => (waiter = resolve));
      const next = queue.shift()!;
      if (next instanceof ProxyError) throw next;
      return next;
    },
    unread: (bytes: Buffer) => queue.unshift(bytes),
  } as unknown as Conn;
  const say = (...what: (string | null | ProxyError)[]) => {
    queue.push(...what.map((one) => (typeof one === 'string' ? Buffer.from(one, 'latin1') : one)));
    waiter?.();
  };
  return { conn, say };
}

const patient = { idleMs: 10_000, headMs: 10_000 };
const impatient = { idleMs: 5, headMs: 5 };

describe('a row of messages', () => {
  const row =
    'POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n' +
    'PUT http://b/ HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhello' +
    'GET http://c/ HTTP/1.1\r\nHost: c\r\n\r\nrest';

  test('is the same however it is split', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.nat(row.length), { maxLength: 40 }), async (cuts) => {
        const { conn, say } = fakeConn();
        const reader = new MessageReader(conn, 'request');
        const at = [0, ...cuts.sort((a, b) => a - b), row.length];
        say(
          ...at
            .slice(1)
            .map((end, i) => row.slice(at[i], end))
            .filter((part) => part !== ''),
        );
        const seen: string[] = [];
        for (let i = 0; i < 3; i++) {
          const head = await reader.head(patient);
          if (typeof head === 'string') throw new Error(head);
          reader.beginBody(bodyFraming(head));
          let body = '';
          for (let parts = await reader.bodyParts(); parts !== null; parts = await reader.bodyParts()) {
            body += Buffer.concat(parts).toString('latin1');
          }
          seen.push(`${head.method} ${head.target} ${body} ${reader.trailers.join('=')}`);
        }
        expect(seen).toEqual(['POST http://a/ abc X-T=1', 'PUT http://b/ hello ', 'GET http://c/  ']);
        reader.release();
        let rest = '';
        while (rest.length < 4) rest += String(await conn.read());
        expect(rest).toBe('rest');
      }),
      { numRuns: 300 },
    );
  });
});

describe('a wait for a head', () => {
  test('ends for silence, and what comes later is not lost', async () => {
    const { conn, say } = fakeConn();
    const reader = new MessageReader(conn, 'request');
    expect(await reader.head(impatient)).toBe('idle');
    say('GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await reader.head(patient)).toMatchObject({ method: 'GET' });
  });

  test('ends for a head that never does, byte by byte', async () => {
    for (const [side, code] of [
      ['request', 'handshakeTimeout'],
      ['response', 'upstreamTimeout'],
    ] as const) {
      const { conn, say } = fakeConn();
      const reader = new MessageReader(conn, side);
      say(side === 'request' ? 'GET ' : 'HTTP');
      const trickle = setInterval(() => say(side === 'request' ? 'G' : '/'), 1);
      const error = await reader.head({ idleMs: 10_000, headMs: 20 }).catch((cause: unknown) => cause);
      clearInterval(trickle);
      // A server's first bytes are no status line, which may be seen before the deadline.
      expect((error as ProxyError).code).toMatch(new RegExp(`${code}|badUpstreamReply|malformedRequest`));
    }
    const { conn, say } = fakeConn();
    const reader = new MessageReader(conn, 'request');
    say('GET http://a/ HTTP/1.1\r\nX: ');
    await expect(reader.head({ idleMs: 10_000, headMs: 5 })).rejects.toMatchObject({
      code: 'handshakeTimeout',
      status: 408,
    });
  });

  test('ends when it is interrupted before the first byte, and not after', async () => {
    const { conn, say } = fakeConn();
    const reader = new MessageReader(conn, 'request');
    let stop: (() => void) | undefined;
    const interruption = (interrupt: () => void) => {
      stop = interrupt;
      return () => (stop = undefined);
    };
    const first = reader.head({ ...patient, interruption });
    stop!();
    expect(await first).toBe('interrupted');
    expect(stop).toBeUndefined();
    say('GET http://a/ HTTP/1.1\r\n');
    const second = reader.head({ ...patient, interruption });
    await new Promise((resolve) => setImmediate(resolve));
    expect(stop).toBeUndefined();
    say('Host: a\r\n\r\n');
    expect(await second).toMatchObject({ method: 'GET' });
  });

  test('ends with the connection', async () => {
    const { conn, say } = fakeConn();
    const reader = new MessageReader(conn, 'request');
    say(null);
    expect(await reader.head(patient)).toBe('ended');
    const cut = fakeConn();
    cut.say('GET', null);
    await expect(new MessageReader(cut.conn, 'request').head(patient)).rejects.toMatchObject({
      code: 'malformedRequest',
    });
    const broken = fakeConn();
    broken.say(new ProxyError('clientClosed', 'client', 'gone'));
    await expect(new MessageReader(broken.conn, 'request').head(patient)).rejects.toMatchObject({
      code: 'clientClosed',
    });
  });
});

test('something stirring on an idle connection is noticed and not lost', async () => {
  const { conn, say } = fakeConn();
  const reader = new MessageReader(conn, 'response');
  const stirred = reader.stirred();
  say('HTTP/1.1 200 OK\r\n\r\n');
  await stirred;
  expect(await reader.head(patient)).toMatchObject({ status: 200 });
});
