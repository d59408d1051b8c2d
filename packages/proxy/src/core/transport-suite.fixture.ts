import { createHash } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Address, Conn, End, Listening } from './conn.ts';
import type { ProxyError } from './errors.ts';
import { relay } from './relay.ts';
import type { Context, Way } from './way.ts';

/** Both ends of a transport, as the suite uses them. */
export interface SuiteWays {
  readonly listener: Way;
  readonly dialer: Way;
  /** The way beneath all layers: what a client that knows no handshake speaks. Absent: there is no handshake. */
  readonly raw?: Way;
  /** Where to listen; asked anew for each test. */
  at(): Address;
  /** False: an end ends both directions, as far as the peer's writes go. Default true. */
  readonly halfCloses?: boolean;
  /** False: a reset looks like an end. Default true. */
  readonly resets?: boolean;
}

const context = (signal = new AbortController().signal): Context => ({ signal });

/** What the process holds open that a transport could have left behind. */
function handles(): number {
  return process.getActiveResourcesInfo().filter((name) => /TCP|Pipe|TLS|UDP/i.test(name)).length;
}

async function readAll(conn: Conn): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) parts.push(bytes);
  return Buffer.concat(parts);
}

/** Reads until so many bytes are there. */
async function readBytes(conn: Conn, count: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  while (length < count) {
    const bytes = await conn.read();
    if (bytes === null) throw new Error(`ended after ${String(length)} bytes`);
    parts.push(bytes);
    length += bytes.length;
  }
  return Buffer.concat(parts);
}

/**
 * What every stream transport must do, run against one of them. `makeWays` is called once; what it answers is closed at the
 * end, and then nothing may be open that was not open before.
 */
export function transportSuite(name: string, makeWays: () => SuiteWays | Promise<SuiteWays>): void {
  describe(`${name}, as every transport`, () => {
    let ways: SuiteWays;
    let openBefore = 0;
    const closing: (() => unknown)[] = [];
    beforeAll(async () => {
      openBefore = handles();
      ways = await makeWays();
    });
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close();
    });
    async function listen(each?: (conn: Conn) => unknown) {
      const accepted: Conn[] = [];
      const waiting: ((conn: Conn) => void)[] = [];
      const problems: ProxyError[] = [];
      const told: ((error: ProxyError) => void)[] = [];
      const accept = (end: End) => {
        if (end.kind !== 'stream') throw new Error('not a stream');
        closing.push(() => end.reset());
        each?.(end);
        const next = waiting.shift();
        if (next === undefined) accepted.push(end);
        else next(end);
      };
      const listening: Listening = await ways.listener.listen!(ways.at(), accept, (error) => {
        problems.push(error);
        told.shift()?.(error);
      });
      closing.push(() => listening.close());
      return {
        listening,
        problems,
        problem: () => new Promise<ProxyError>((resolve) => told.push(resolve)),
        next: () => {
          const conn = accepted.shift();
          return conn === undefined
            ? new Promise<Conn>((resolve) => waiting.push(resolve))
            : Promise.resolve(conn);
        },
      };
    }

    async function dial(to: Address) {
      const conn = await ways.dialer.dial(to, context());
      closing.push(() => conn.reset());
      return conn;
    }

    async function pair() {
      const { listening, next } = await listen();
      const [client, server] = await Promise.all([dial(listening.address), next()]);
      return { client, server };
    }

    test('carries bytes both ways, puts back what was read, and both ends know who they are', async () => {
      const { client, server } = await pair();
      await client.write(Buffer.from('hello'));
      const read = await server.read();
      expect(String(read)).toBe('hello');
      server.unread(read!.subarray(2));
      expect(String(await server.read())).toBe('llo');
      await server.write(Buffer.from('to you'));
      expect(String(await client.read())).toBe('to you');
      expect(client.kind).toBe('stream');
      expect(server.remote).toEqual(client.local);
    });

    test('carries much both ways at once, at the pace of the reader, unchanged', async () => {
      const { client, server } = await pair();
      const size = 16 << 20;
      const block = Buffer.alloc(size);
      for (let i = 0; i < size; i += 4) block.writeUInt32LE((i * 2654435761) >>> 0, i);
      const sum = createHash('sha256').update(block).digest('hex');
      const send = async (conn: Conn) => {
        for (let from = 0; from < size; from += 300_001)
          await conn.write(block.subarray(from, from + 300_001));
      };
      const receive = async (conn: Conn) =>
        createHash('sha256')
          .update(await readBytes(conn, size))
          .digest('hex');
      const [, , up, down] = await Promise.all([
        send(client),
        send(server),
        receive(server),
        receive(client),
      ]);
      expect(up).toBe(sum);
      expect(down).toBe(sum);
    });

    test('a writer waits for a reader that does not read, and end for the last byte', async () => {
      const { client, server } = await pair();
      const block = Buffer.alloc(64 << 10, 'x');
      let written = 0;
      const writing = (async () => {
        for (let i = 0; i < 512; i++) {
          await client.write(block);
          written += block.length;
        }
        await client.end();
      })();
      await server.read();
      // 32 MiB do not fit into what lies between the two.
      const isHeld = written < 512 * block.length;
      const rest = await (ways.halfCloses === false
        ? readBytes(server, 511 * block.length)
        : readAll(server));
      await writing;
      expect(isHeld).toBe(true);
      expect(rest.length).toBeGreaterThan(510 * block.length);
      expect(rest.every((byte) => byte === 0x78)).toBe(true);
    });

    test.each(['the dialer', 'the listener'])(
      '%s half-closes, and the other direction goes on',
      async (who) => {
        const { client, server } = await pair();
        const [first, second] = who === 'the dialer' ? [client, server] : [server, client];
        await first.write(Buffer.from('request'));
        await first.end();
        expect(String(await readAll(second))).toBe('request');
        expect(await second.read()).toBeNull();
        if (ways.halfCloses !== false) {
          const answer = Buffer.alloc(64 << 10, 'a');
          await second.write(answer);
          await second.end();
          expect((await readAll(first)).equals(answer)).toBe(true);
        } else {
          await second.end();
          expect(await first.read()).toBeNull();
        }
        await Promise.all([first.closed, second.closed]);
      },
    );

    test('a reset ends reads and writes of both', async () => {
      const { client, server } = await pair();
      await client.write(Buffer.from('x'));
      expect(String(await server.read())).toBe('x');
      const waiting = server.read().catch((error: unknown) => error);
      client.reset();
      client.reset();
      const seen = await waiting;
      if (ways.resets !== false) expect(seen).toMatchObject({ code: 'clientClosed', at: 'client' });
      await expect(client.read()).rejects.toMatchObject({ code: 'upstreamClosed', at: 'upstream' });
      server.reset();
      await expect(server.write(Buffer.from('y'))).rejects.toMatchObject({ code: 'clientClosed' });
      await Promise.all([client.closed, server.closed]);
    });

    test('a peer that goes in the middle of it ends a relay, and what it leads to', async () => {
      const far = await pair();
      const near = await pair();
      const relayed = relay(near.server, far.client);
      await near.client.write(Buffer.from('through'));
      expect(String(await far.server.read())).toBe('through');
      void far.server.write(Buffer.alloc(8 << 20)).catch(() => undefined);
      await near.client.read();
      near.client.reset();
      await relayed;
      await Promise.all([near.server.closed, far.client.closed]);
      await readAll(far.server).catch(() => undefined);
    });

    test('fifty at once, each with its own bytes', async () => {
      const { listening } = await listen((conn) => void echo(conn));
      const answers = await Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          const conn = await dial(listening.address);
          const sent = Buffer.alloc(10_000, String.fromCharCode(48 + i));
          await conn.write(sent);
          const back = await readBytes(conn, sent.length);
          await conn.end();
          await readAll(conn);
          await conn.closed;
          return back.equals(sent);
        }),
      );
      expect(answers.every(Boolean)).toBe(true);
    });

    test('fifty that are reset as soon as they are accepted, and fifty that leave as soon as they are there', async () => {
      const ended: Promise<void>[] = [];
      let isResetting = true;
      const { listening } = await listen((conn) => {
        ended.push(conn.closed);
        if (isResetting) conn.reset();
        else
          void readAll(conn).then(
            () => conn.end(),
            () => undefined,
          );
      });
      const all = (leave: (conn: Conn) => unknown) =>
        Promise.all(
          Array.from({ length: 50 }, async () => {
            // Where there is a handshake it may break, too.
            const conn = await dial(listening.address).catch(() => undefined);
            if (conn === undefined) return;
            await leave(conn);
            await conn.closed;
          }),
        );
      await all((conn) =>
        readAll(conn).then(
          () => conn.end(),
          () => undefined,
        ),
      );
      isResetting = false;
      await all((conn) => conn.reset());
      // Who leaves is gone before the other end has heard of it.
      await expect.poll(() => ended.length).toBeGreaterThan(50);
      await Promise.all(ended);
    });

    test('a closed listener takes no more, and connections live on', async () => {
      const { listening, next } = await listen();
      const [client, server] = await Promise.all([dial(listening.address), next()]);
      await listening.close();
      await listening.close();
      await client.write(Buffer.from('alive'));
      expect(String(await server.read())).toBe('alive');
      // A peer that has to be told of it has been told when this is there.
      await server.write(Buffer.from('as well'));
      expect(String(await client.read())).toBe('as well');
      await expect(ways.dialer.dial(listening.address, context())).rejects.toMatchObject({
        code: 'dialFailed',
      });
    });

    test('a dial that nobody waits for is given up', async () => {
      await expect(
        ways.dialer.dial({ host: '127.0.0.1', port: 1 }, context(AbortSignal.abort())),
      ).rejects.toMatchObject({ code: 'clientClosed' });
      const { listening } = await listen();
      const controller = new AbortController();
      const dialling = ways.dialer.dial(listening.address, context(controller.signal));
      controller.abort();
      await expect(dialling).rejects.toMatchObject({ code: 'clientClosed' });
    });

    test('as a Duplex it pipes and ends', async () => {
      const { client, server } = await pair();
      server.stream.pipe(server.stream);
      await client.write(Buffer.from('echoed'));
      expect(String(await readBytes(client, 6))).toBe('echoed');
      await client.end();
      await readAll(client);
      await Promise.all([client.closed, server.closed]);
    });

    test('clients that know no handshake harm nobody', async () => {
      const { raw } = ways;
      if (raw === undefined) return;
      const { listening, problem, next } = await listen();
      const garbage = [
        Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
        Buffer.from('SSH-2.0-x\r\n\r\n\r\n'),
        Buffer.alloc(100_000, 0xff),
        Buffer.from([0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, ...Array.from({ length: 250 }, (_, i) => i)]),
        Buffer.alloc(0),
      ];
      for (const bytes of garbage) {
        const told = problem();
        const conn = await raw.dial(listening.address, context());
        closing.push(() => conn.reset());
        await conn.write(bytes).catch(() => undefined);
        await conn.end();
        expect(await told).toMatchObject({ at: 'client' });
        await readAll(conn).catch(() => undefined);
        await conn.closed;
      }
      // And one that goes without a word, with a reset.
      const told = problem();
      const conn = await raw.dial(listening.address, context());
      await conn.write(Buffer.from([0x16]));
      conn.reset();
      expect(await told).toMatchObject({ at: 'client' });
      const [client, server] = await Promise.all([dial(listening.address), next()]);
      await client.write(Buffer.from('served'));
      expect(String(await server.read())).toBe('served');
    });

    test('nothing of all this is left open', async () => {
      await ways.listener.close();
      await ways.dialer.close();
      await expect.poll(handles, { timeout: 5000 }).toBeLessThanOrEqual(openBefore);
    });
  });
}

async function echo(conn: Conn): Promise<void> {
  try {
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) await conn.write(bytes);
    await conn.end();
  } catch {
    // A client of a test that goes early.
    conn.reset();
  }
}
