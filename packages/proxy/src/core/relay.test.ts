import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Address, Conn } from './conn.ts';
import { manualWheel, settled } from './manual-clock.fixture.ts';
import { memoryConnPair, memoryDatagramsPair } from './memory-conn.fixture.ts';
import { createMeter } from './meter.ts';
import { meterConn, noBuckets } from './metered-conn.ts';
import { relay, relayDatagrams } from './relay.ts';

const meter = createMeter();

/** A client and an origin with a relay between them that has not begun. */
function scene(maxBufferedBytes?: number) {
  const { clock, wheel } = manualWheel();
  const sides = ['client', 'client'] as const;
  const [client, near] = memoryConnPair({ maxBufferedBytes, sides });
  const [far, origin] = memoryConnPair({ maxBufferedBytes, sides: ['upstream', 'upstream'] });
  return { clock, wheel, client, near, far, origin, traffic: { received: 0, sent: 0 } };
}

async function readAll(conn: Conn): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) parts.push(bytes);
  return Buffer.concat(parts);
}

describe('a relay', () => {
  test('carries both streams as they are, whatever the split, the limits and which side ends first', async () => {
    const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 400 }), { maxLength: 10 });
    const rate = fc.constantFrom(0, 50, 2000, 1_000_000);
    const pause = fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(
        chunks,
        chunks,
        rate,
        pause,
        pause,
        fc.boolean(),
        async (up, down, per, a, b, metered) => {
          const { clock, wheel, client, near, far, origin, traffic } = scene(256);
          const shaped = meterConn(near, { traffic, wheel });
          const bucket = meter.bucket({ ratePerSecond: per });
          if (per > 0) shaped.buckets = { in: [bucket], out: [bucket] };
          const send = async (conn: Conn, list: Uint8Array[], pauses: number[]) => {
            for (const [i, bytes] of list.entries()) {
              const turns = pauses[i % pauses.length]!;
              if (turns > 0) await new Promise<void>((resolve) => wheel.timer(resolve).start(turns * 5));
              await conn.write(bytes);
            }
            await conn.end();
          };
          const relayed = relay(metered ? shaped : near, far, { traffic, wheel, idleMs: 60_000 });
          let isOver = false;
          const all = Promise.all([
            send(client, up, a),
            send(origin, down, b),
            readAll(origin),
            readAll(client),
          ]);
          void all.then(() => (isOver = true));
          await clock.runUntil(() => isOver);
          const [, , received, sent] = await all;
          expect(await relayed).toBeUndefined();
          expect(received).toEqual(Buffer.concat(up));
          expect(sent).toEqual(Buffer.concat(down));
          expect(traffic).toEqual({ received: received.length, sent: sent.length });
          expect(wheel.pending).toBe(0);
          bucket.free();
        },
      ),
      { numRuns: 80 },
    );
    expect(meter.used).toBe(0);
  });

  test('an upload goes on after the origin has ended its direction', async () => {
    const { client, near, far, origin, traffic } = scene();
    const relayed = relay(near, far, { traffic });
    await origin.end();
    expect(await client.read()).toBeNull();
    await client.write(Buffer.from('still'));
    expect(String(await origin.read())).toBe('still');
    await client.end();
    expect(await relayed).toBeUndefined();
    expect(traffic).toEqual({ received: 5, sent: 0 });
  });

  test('a reset goes through as one, after what came before it; its side is the reason', async () => {
    for (const [side, code] of [
      ['client', 'clientClosed'],
      ['origin', 'upstreamClosed'],
    ] as const) {
      const { client, near, far, origin } = scene();
      const relayed = relay(near, far);
      const [from, to] = side === 'client' ? [client, origin] : [origin, client];
      await from.write(Buffer.from('before'));
      expect(String(await to.read())).toBe('before');
      const reading = to.read();
      from.reset();
      await expect(reading).rejects.toMatchObject({ name: 'ProxyError' });
      expect(await relayed).toMatchObject({ code });
      expect([client.isReset, origin.isReset]).toEqual([true, true]);
    }
  });

  test('so does one of a client that has ended its direction, though the origin says nothing', async () => {
    const { client, near, far, origin, traffic } = scene();
    const relayed = relay(near, far, { traffic });
    await client.end();
    expect(await readAll(origin)).toEqual(Buffer.alloc(0));
    client.reset();
    expect(await relayed).toMatchObject({ code: 'clientClosed' });
    await expect(origin.write(Buffer.from('late'))).rejects.toThrow();
  });

  test('whoever sends is read no faster than the other side takes it', async () => {
    const { client, near, far, origin, traffic } = scene();
    const relayed = relay(near, far, { traffic });
    let sent = 0;
    const sending = (async () => {
      for (; sent < 1000; sent++) await client.write(Buffer.alloc(10_000));
    })();
    await settled();
    expect(sent).toBeLessThan(30);
    origin.reset();
    await expect(sending).rejects.toMatchObject({ name: 'ProxyError' });
    await relayed;
  });

  test('after the idle time without a byte both are reset, and not before', async () => {
    const { clock, wheel, client, near, far, origin } = scene();
    const relayed = relay(near, far, { idleMs: 1000, wheel });
    for (const from of [client, origin]) {
      clock.advance(900);
      await from.write(Buffer.from('x'));
      await settled();
    }
    clock.advance(990);
    expect(client.isReset).toBe(false);
    clock.advance(20);
    expect(await relayed).toMatchObject({ code: 'idleTimeout' });
    expect([client.isReset, origin.isReset]).toEqual([true, true]);
    expect(wheel.pending).toBe(0);
  });

  test('without an idle time it waits for ever; bytes that wait for their rate are no idleness', async () => {
    const quiet = scene();
    const relayed = relay(quiet.near, quiet.far, { wheel: quiet.wheel });
    await settled();
    expect(quiet.wheel.pending).toBe(0);
    quiet.client.reset();
    await relayed;

    const { clock, wheel, client, near, far, origin, traffic } = scene();
    const metered = meterConn(near, { traffic, wheel });
    const slow = meter.bucket({ ratePerSecond: 1 });
    slow.take(101, clock.nowMs);
    metered.buckets = { in: [slow], out: [] };
    const shaped = relay(metered, far, { traffic, wheel, idleMs: 1000 });
    await client.write(Buffer.from('!'));
    const reading = origin.read();
    let isRead = false;
    void reading.then(() => (isRead = true));
    const start = clock.nowMs;
    await clock.runUntil(() => isRead);
    expect(clock.nowMs - start).toBeGreaterThan(99_000);
    slow.free();
    await clock.runUntil(() => client.isReset);
    expect(await shaped).toMatchObject({ code: 'idleTimeout' });
    expect(traffic.received).toBe(1);
  });
});

const named: Address = { host: '198.51.100.9', port: 53 };

function datagrams() {
  const { clock, wheel } = manualWheel();
  const [client, near] = memoryDatagramsPair();
  const [far, origin] = memoryDatagramsPair();
  const got: [string, Address][] = [];
  const note = (data: Buffer, peer: Address) => got.push([String(data), peer]);
  return { clock, wheel, client, near, far, origin, got, note, traffic: { received: 0, sent: 0 } };
}

describe('a relay of datagrams', () => {
  test('carries them both ways, those that came early as well', async () => {
    const { client, near, far, origin, got, note, traffic } = datagrams();
    client.send(Buffer.from('early'));
    const relayed = relayDatagrams(near, far, { traffic });
    origin.receive(note);
    client.receive(note);
    client.send(Buffer.from('up'));
    origin.send(Buffer.from('down'));
    // A listener's client names itself, so that nobody is named to the other side.
    expect(got).toEqual([
      ['early', far.local],
      ['up', far.local],
      ['down', near.local],
    ]);
    expect(traffic).toEqual({ received: 7, sent: 4 });
    origin.close();
    expect(await relayed).toBe('upstream');
    await client.closed;
    expect(client.send(Buffer.from('late'))).toBe(false);
  });

  test('the targets that an association names go along in both directions', async () => {
    const { client, near, far, origin, got, note } = datagrams();
    const relayed = relayDatagrams(near, far);
    origin.receive(note);
    client.receive(note);
    client.send(Buffer.from('to'), named);
    origin.send(Buffer.from('from'), named);
    expect(got).toEqual([
      ['to', named],
      ['from', named],
    ]);
    client.close();
    expect(await relayed).toBe('client');
  });

  test('what a bucket does not hold, or the other side does not take, is dropped and counted', async () => {
    const { clock, wheel, client, near, far, origin, got, note, traffic } = datagrams();
    const shaped = { buckets: { in: [meter.bucket({ ratePerSecond: 100 })], out: [] as const } };
    const relayed = relayDatagrams(near, far, { traffic, shaped, wheel });
    origin.receive(note);
    for (const bytes of [60, 60, 40, 101]) client.send(Buffer.alloc(bytes));
    expect(traffic).toEqual({ received: 100, sent: 0, dropped: 2 });
    clock.advance(500);
    client.send(Buffer.alloc(50));
    expect(traffic.received).toBe(150);
    Object.assign(shaped, noBuckets, { buckets: noBuckets });
    client.send(Buffer.alloc(1000));
    expect(traffic.received).toBe(1150);
    expect(got.length).toBe(4);
    // Nobody receives at the client, whose queue holds 64.
    for (let i = 0; i < 70; i++) origin.send(Buffer.alloc(1));
    expect(traffic).toMatchObject({ sent: 64, dropped: 8 });
    near.close();
    await relayed;
  });

  test('ends when none has come for its time', async () => {
    const { clock, wheel, client, near, far, origin } = datagrams();
    const relayed = relayDatagrams(near, far, { ttlMs: 1000, wheel });
    for (const from of [client, origin]) {
      clock.advance(900);
      from.send(Buffer.from('x'));
    }
    clock.advance(990);
    expect(client.send(Buffer.from('x'))).toBe(true);
    clock.advance(1010);
    expect(await relayed).toBe('ttl');
    await Promise.all([client.closed, origin.closed]);
    expect(wheel.pending).toBe(0);
  });
});
