import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { manualWheel, settled } from './manual-clock.fixture.ts';
import { memoryConnPair } from './memory-conn.fixture.ts';
import { createMeter } from './meter.ts';
import { asMetered, meterConn, noBuckets } from './metered-conn.ts';

const meter = createMeter();

function scene() {
  const { clock, wheel } = manualWheel();
  const [conn, peer] = memoryConnPair();
  const traffic = { received: 0, sent: 0 };
  const metered = meterConn(conn, { traffic, wheel });
  return { clock, wheel, conn, peer, traffic, metered };
}

const bucket = (ratePerSecond: number, burst?: number) => meter.bucket({ ratePerSecond, burst });

describe('a metered connection', () => {
  test('counts what is read and written, and what was put back only once', async () => {
    const { clock, metered, peer, traffic, conn } = scene();
    expect(metered).toMatchObject({ local: conn.local, remote: conn.remote, under: conn, isHeldBack: false });
    await peer.write(Buffer.from('hello'));
    clock.advance(50);
    const read = await metered.read();
    expect(metered.lastActivityMs).toBe(clock.nowMs);
    metered.unread(read!);
    metered.buckets = { in: [bucket(1)], out: [] };
    metered.unread(Buffer.alloc(0));
    expect(String(await metered.read())).toBe('hello');
    expect(traffic).toEqual({ received: 5, sent: 0 });
    await metered.write(Buffer.from('you'));
    expect(traffic).toEqual({ received: 5, sent: 3 });
    await metered.end();
    await peer.end();
    expect(await metered.read()).toBeNull();
    await metered.closed;
    expect(asMetered(metered)).toBe(metered);
    expect(asMetered(conn)).toBeUndefined();
  });

  test('without buckets a write is that of the connection, and a read one promise more', async () => {
    const { metered, conn } = scene();
    const written = Promise.resolve();
    conn.write = () => written;
    expect(metered.write(Buffer.from('x'))).toBe(written);
    metered.buckets = { in: [], out: [bucket(100)] };
    expect(metered.write(Buffer.from('x'))).toBe(written);
    let ticks = 0;
    let isRead = false;
    conn.read = () => Promise.resolve(Buffer.from('y'));
    void metered.read().then(() => (isRead = true));
    for (; !isRead; ticks++) await undefined;
    expect(ticks).toBeLessThanOrEqual(3);
  });

  test.each([30_000, 1_000_000, 50_000_000, 1_000_000_000])(
    'holds %d bytes a second within 1 % both ways once the burst is used up',
    async (rate) => {
      const { clock, conn, metered, traffic } = scene();
      const buckets = [bucket(rate), bucket(rate)] as const;
      metered.buckets = { in: [buckets[0]], out: [buckets[1]] };
      for (const each of buckets) each.take(rate, clock.nowMs);
      // Faster than any limit, both ways.
      const chunk = Buffer.alloc(64 * 1024);
      let rest: Buffer = chunk.subarray(0, 0);
      conn.unread = (bytes) => (rest = bytes);
      conn.read = () => {
        const bytes = rest.length > 0 ? rest : chunk;
        rest = chunk.subarray(0, 0);
        return Promise.resolve(bytes);
      };
      conn.write = () => Promise.resolve();
      let isOver = false;
      const run = async (each: () => Promise<unknown>) => {
        while (!isOver) await each();
      };
      const running = [run(() => metered.read()), run(() => metered.write(chunk))];
      const start = clock.nowMs;
      while (clock.nowMs < start + 8000) {
        await settled();
        // What wakes up does so too late, as on a machine with other things to do.
        clock.advance(7, 2);
      }
      await settled();
      const perfect = (rate * (clock.nowMs - start)) / 1000;
      expect(Math.abs(traffic.received / perfect - 1)).toBeLessThan(0.01);
      expect(Math.abs(traffic.sent / perfect - 1)).toBeLessThan(0.01);
      isOver = true;
      metered.buckets = noBuckets;
      await Promise.all(running);
    },
  );

  test('many connections on one bucket come to its rate together, and each gets on', async () => {
    const { clock, wheel } = manualWheel();
    const shared = bucket(100_000);
    const totals = Array.from({ length: 20 }, () => ({ received: 0, sent: 0 }));
    const conns = totals.map((traffic) => {
      const [conn, peer] = memoryConnPair();
      const metered = meterConn(conn, { traffic, wheel });
      metered.buckets = { in: [shared], out: [] };
      const run = async () => {
        for (;;) await metered.read();
      };
      const feed = async () => {
        for (;;) await peer.write(Buffer.alloc(64 * 1024));
      };
      return { metered, ended: Promise.allSettled([run(), feed()]) };
    });
    for (let ms = 0; ms < 11_000; ms += 5) {
      await settled();
      clock.advance(5);
    }
    const sum = totals.reduce((all, { received }) => all + received, 0);
    // The burst, and ten seconds of which the first one is paid by it.
    expect(Math.abs(sum / 1_200_000 - 1)).toBeLessThan(0.02);
    for (const { received } of totals) expect(received).toBeGreaterThan(30_000);
    for (const { metered, ended } of conns) {
      metered.reset();
      await ended;
    }
  });

  test('a bucket that comes while a read waits counts for what it gives', async () => {
    const { clock, metered, peer } = scene();
    const reading = metered.read();
    const slow = bucket(100);
    metered.buckets = { in: [slow], out: [] };
    await peer.write(Buffer.alloc(300));
    await reading;
    expect(slow.waitMs(clock.nowMs)).toBe(2000);
  });

  test('another rate and other buckets count at once for whoever waits', async () => {
    const { clock, metered, peer } = scene();
    const slow = bucket(1000);
    metered.buckets = { in: [], out: [slow] };
    void peer.read();
    const written = metered.write(Buffer.alloc(1_000_000));
    await settled();
    expect(metered.isHeldBack).toBe(true);
    clock.advance(400);
    slow.setRate({ ratePerSecond: 1_000_000 }, clock.nowMs);
    clock.advance(260);
    await settled();
    expect(metered.traffic.sent).toBeGreaterThan(10_000);
    metered.buckets = noBuckets;
    for (let left = peer.read(); metered.isHeldBack; left = peer.read()) await left;
    await settled();
    expect(metered.isHeldBack).toBe(false);
    void drain();
    await written;
    async function drain() {
      for (;;) await peer.read();
    }
  });

  test('writes keep their order and the end comes last, however they are held back', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 12 }),
        fc.array(fc.constantFrom(0, 500, 100_000, 10_000_000), { minLength: 1, maxLength: 5 }),
        async (chunks, rates) => {
          const { clock, metered, peer, traffic } = scene();
          const written = chunks.map((bytes, i) => {
            const rate = rates[i % rates.length]!;
            metered.buckets = { in: [], out: rate === 0 ? [] : [bucket(rate), bucket(rate * 3, 10)] };
            return metered.write(bytes);
          });
          const ended = metered.end();
          const parts: Buffer[] = [];
          let isOver = false;
          const reading = (async () => {
            for (let bytes = await peer.read(); bytes !== null; bytes = await peer.read()) parts.push(bytes);
            isOver = true;
          })();
          await clock.runUntil(() => isOver);
          await Promise.all([...written, ended, reading]);
          expect(Buffer.concat(parts)).toEqual(Buffer.concat(chunks));
          expect(traffic.sent).toBe(Buffer.concat(chunks).length);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a reset, from either side, ends what is held back', async () => {
    for (const who of ['metered', 'peer'] as const) {
      const { metered, peer, wheel } = scene();
      const empty = bucket(1);
      empty.take(1000, wheel.now());
      metered.buckets = { in: [empty], out: [empty] };
      const written = metered.write(Buffer.alloc(5000));
      await peer.write(Buffer.from('last'));
      const reading = metered.read();
      await settled();
      await expect(metered.read()).rejects.toMatchObject({ code: 'internal' });
      (who === 'metered' ? metered : peer).reset();
      await expect(written).rejects.toMatchObject({ code: 'clientClosed' });
      // What came before the peer's reset is still read.
      expect(String(await reading)).toBe('last');
      await expect(metered.read()).rejects.toMatchObject({ code: 'clientClosed' });
      expect(metered.isHeldBack).toBe(false);
      expect(wheel.pending).toBe(0);
    }
  });

  test('as a Duplex it is counted and held back, too', async () => {
    const { clock, metered, peer, traffic } = scene();
    metered.buckets = { in: [], out: [bucket(100)] };
    metered.stream.end(Buffer.alloc(150));
    let isOver = false;
    void (async () => {
      while ((await peer.read()) !== null);
      isOver = true;
    })();
    const start = clock.nowMs;
    await clock.runUntil(() => isOver);
    expect(clock.nowMs - start).toBeLessThan(1000);
    expect(traffic.sent).toBe(150);
    metered.reset();
  });
});
