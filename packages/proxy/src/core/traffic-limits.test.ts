import { PluginError, combine, contractByKind } from '@sallyport/plugin';
import type { Call, CallEvent, LimiterAsk, Rate } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import type { ProxyError } from './errors.ts';
import { manualWheel, settled } from './manual-clock.fixture.ts';
import { createMeter } from './meter.ts';
import { noBuckets } from './metered-conn.ts';
import type { Shaped } from './metered-conn.ts';
import type { PolicyOf } from './policies.ts';
import { createTrafficLimits } from './traffic-limits.ts';
import type { TrafficLimitsOptions } from './traffic-limits.ts';

type Limiter = PolicyOf<'limiter'>['limit'];

/** Limits of a service, its limiters' questions, and the connections that a test attaches. */
function scene(
  { service, handler }: { service?: Limiter; handler?: Limiter },
  options: Partial<TrafficLimitsOptions> = {},
) {
  const { clock, wheel } = manualWheel();
  const meter = options.meter ?? createMeter();
  const asks: LimiterAsk[] = [];
  const problems: ProxyError[] = [];
  const asked = (limit: Limiter | undefined): PolicyOf<'limiter'> | undefined =>
    limit && {
      limit(ask, call) {
        asks.push(ask);
        return limit(ask, call);
      },
    };
  const limits = createTrafficLimits({
    service: 'front',
    serviceLimiter: asked(service),
    handlerLimiter: asked(handler),
    wheel,
    meter,
    problem: (error) => problems.push(error),
    ...options,
  });
  const attach = async (port: number, user = '', call: Call = { meta: {} }, isFarEnd = false) => {
    const shaped: Shaped = { buckets: noBuckets };
    const client = { host: '192.0.2.1', port };
    const target = { host: 'a.test', port: 443 };
    const attached = await limits.attach({ client, network: 'tcp', user, target, isFarEnd }, shaped, call);
    return { ...attached, shaped };
  };
  const wait = async (ms: number) => {
    clock.advance(ms);
    await settled();
  };
  return { clock, wheel, meter, asks, problems, limits, attach, wait };
}

const rate = (inward: number, out: number, share = '$', burst?: number): Rate => ({
  in: inward,
  out,
  share,
  burst,
});
const ratesOf = ({ shaped: { buckets } }: { shaped: Shaped }) => ({
  in: buckets.in.map(({ ratePerSecond }) => ratePerSecond),
  out: buckets.out.map(({ ratePerSecond }) => ratePerSecond),
});
const unreachable = () => Promise.reject(new PluginError('unreachable', 'nobody listens'));

describe('what is asked', () => {
  test('each scope once, with its arguments; one answer for both directions', async () => {
    const { asks, attach } = scene({
      service: ({ scope }) => [scope === 'service' ? rate(1, 2) : rate(3, 4, '$$')],
      handler: ({ user }) => [rate(5, 6, user)],
    });
    const first = await attach(1000, 'joe');
    const client = '192.0.2.1:1000';
    const common = { service: 'front', network: 'tcp' };
    expect(asks).toEqual([
      { ...common, scope: 'service', target: '', user: '', client: '' },
      { ...common, scope: 'conn', target: '', user: '', client },
      { ...common, scope: 'client', target: 'a.test:443', user: 'joe', client },
    ]);
    expect(ratesOf(first)).toEqual({ in: [1, 5, 3], out: [2, 6, 4] });
    const second = await attach(1001, 'joe');
    expect(asks.slice(3).map(({ scope }) => scope)).toEqual(['conn']);
    const [a, b] = [first.shaped.buckets, second.shaped.buckets];
    expect(a.in.map((bucket) => b.in.includes(bucket))).toEqual([true, true, false]);
    await attach(1002);
    await attach(1003);
    expect(asks.filter(({ scope }) => scope === 'client').map(({ user }) => user)).toEqual(['joe', '']);
  });

  test('only the scope that is configured, and nobody without a limiter', async () => {
    for (const scope of ['service', 'conn'] as const) {
      const { asks, attach } = scene({ service: () => [] }, { scope });
      await attach(1);
      expect(asks.map((ask) => ask.scope)).toEqual([scope]);
    }
    const { attach, limits } = scene({});
    expect((await attach(1)).shaped.buckets).toEqual({ in: [], out: [] });
    expect(limits.entries).toBe(0);
  });

  test('once for all who wait; one who leaves does not take the answer from the others', async () => {
    let answer!: (rates: Rate[]) => void;
    let signal: AbortSignal | undefined;
    const { asks, attach, limits } = scene({
      handler: (_ask, call) => {
        signal = call.signal;
        return new Promise<Rate[]>((resolve) => (answer = resolve));
      },
    });
    const leaving = new AbortController();
    const waiting = [attach(1, 'joe', { meta: {}, signal: leaving.signal }), attach(2, 'joe')] as const;
    leaving.abort();
    await expect(waiting[0]).rejects.toMatchObject({ code: 'clientClosed' });
    expect(signal?.aborted).toBe(false);
    answer([rate(7, 0, 'joe')]);
    expect(ratesOf(await waiting[1])).toEqual({ in: [7], out: [] });
    expect(asks.length).toBe(1);

    const alone = new AbortController();
    const last = attach(3, 'ann', { meta: {}, signal: alone.signal });
    alone.abort();
    await expect(last).rejects.toMatchObject({ code: 'clientClosed' });
    expect(signal?.aborted).toBe(true);
    expect(limits.entries).toBe(1);
    await expect(attach(4, 'ann', { meta: {}, signal: alone.signal })).rejects.toMatchObject({
      code: 'clientClosed',
    });
  });

  test('whoever finds an answer is told that it was remembered', async () => {
    const event = { module: 'limiter', outcome: 'ok', source: 'live', session: 'a', ms: 9 } as CallEvent;
    const { attach } = scene({
      handler: (_ask, call) => {
        call.observe?.(event);
        return [rate(1, 1)];
      },
    });
    const events: CallEvent[] = [];
    const observe = (told: CallEvent) => events.push(told);
    await attach(1, 'joe', { meta: {}, session: 'a', observe });
    await attach(2, 'joe', { meta: {}, session: 'b', observe });
    expect(events).toEqual([event, { ...event, source: 'cached', session: 'b', ms: 0 }]);
  });
});

describe('an answer', () => {
  test('counts until it is asked for again in the background; what is in the bucket stays', async () => {
    let rates: Rate[] = [rate(1000, 1000)];
    const { asks, attach, wait, clock } = scene({ service: () => rates }, { scope: 'service' });
    const conn = await attach(1);
    const [bucket] = conn.shaped.buckets.in;
    await wait(29_900);
    expect(asks.length).toBe(1);
    bucket!.take(61_000, clock.nowMs);
    await wait(200);
    expect(asks.length).toBe(2);
    expect(conn.shaped.buckets.in).toEqual([bucket]);
    expect(bucket!.waitMs(clock.nowMs)).toBeCloseTo(59_800, 0);
    rates = [rate(2000, 0)];
    await wait(30_000);
    expect(asks.length).toBe(3);
    expect(ratesOf(conn)).toEqual({ in: [2000], out: [] });
    expect(bucket!.waitMs(clock.nowMs)).toBeGreaterThan(10_000);
    rates = [rate(-1, 500)];
    await wait(30_000);
    expect(ratesOf(conn)).toEqual({ in: [], out: [500] });
    const other = await attach(2);
    expect(other.shaped.buckets.out).toEqual(conn.shaped.buckets.out);
  });

  test('that says how long it counts is asked for again then', async () => {
    const { asks, attach, wait } = scene({
      handler: (_ask, call) => {
        call.meta.ttlMs = 5000;
        return [];
      },
    });
    await attach(1, 'joe');
    await wait(4900);
    expect(asks.length).toBe(1);
    await wait(200);
    expect(asks.length).toBe(2);
  });

  test('a share is one bucket, whoever was answered with it, and changes for all', async () => {
    let inward = 0;
    const { attach, wait } = scene(
      { service: () => [rate(inward, 100, '192.0.2.0/24'), rate(9, 9, '$$', 99)] },
      { scope: 'conn' },
    );
    const [a, b] = [await attach(1), await attach(2)];
    expect(a.shaped.buckets.out[0]).toBe(b.shaped.buckets.out[0]);
    expect(a.shaped.buckets.out[1]).not.toBe(b.shaped.buckets.out[1]);
    inward = 50;
    // A third client learns of a limit that the other two did not have.
    const c = await attach(3);
    expect(c.shaped.buckets.in[0]).toBe(a.shaped.buckets.in[0]);
    expect(b.shaped.buckets.in[0]).toBe(a.shaped.buckets.in[0]);
    expect(ratesOf(a)).toEqual({ in: [50, 9], out: [100, 9] });
    inward = 0;
    await wait(30_100);
    for (const conn of [a, b, c]) expect(ratesOf(conn)).toEqual({ in: [9], out: [100, 9] });
  });

  test('about who the client reaches is meant from there; that of the service is not', async () => {
    const { attach, wait } = scene({
      service: ({ scope }) => [scope === 'service' ? rate(1, 2) : rate(3, 4, '$$')],
      handler: ({ user }) => [rate(5, 6, user), rate(7, 8, '$$')],
    });
    const far = await attach(1000, 'tunnel', { meta: {} }, true);
    expect(ratesOf(far)).toEqual({ in: [1, 6, 3, 8], out: [2, 5, 4, 7] });
    // Whoever is the tunnel itself shares with those who reach it, the other way around.
    const near = await attach(1001, 'tunnel');
    expect(near.shaped.buckets.in[1]).toBe(far.shaped.buckets.out[1]);
    await wait(30_000);
    expect(ratesOf(far)).toEqual({ in: [1, 6, 3, 8], out: [2, 5, 4, 7] });
  });

  test('of the service and of the handler have buckets of their own', async () => {
    const same = () => [rate(10, 10, 'x')];
    const { attach } = scene({ service: same, handler: same }, { scope: 'service' });
    const { buckets } = (await attach(1, 'x')).shaped;
    expect(new Set(buckets.in).size).toBe(2);
  });
});

describe('without an answer', () => {
  test('there is no limit, one warning, and another question soon', async () => {
    let limit: Limiter = unreachable;
    const { asks, attach, wait, limits, problems } = scene({ handler: (ask, call) => limit(ask, call) });
    const conn = await attach(1, 'joe');
    await attach(2, 'joe');
    await attach(3, 'ann');
    expect(ratesOf(conn)).toEqual({ in: [], out: [] });
    expect(limits.unanswered).toBe(3);
    expect(problems).toMatchObject([{ code: 'couldNotAsk', at: 'plugin' }]);
    expect(problems[0]!.message).toContain('front');
    const before = asks.length;
    await wait(3200);
    expect(asks.length - before).toBeGreaterThanOrEqual(2);
    limit = () => [rate(5, 5, 'joe')];
    expect(ratesOf(await attach(4, 'joe'))).toEqual({ in: [5], out: [5] });
    expect(ratesOf(conn)).toEqual({ in: [5], out: [5] });
    expect(problems.length).toBe(1);
    limit = unreachable;
    await wait(60_000);
    // The last good answer stays, and nobody is warned.
    expect(ratesOf(conn)).toEqual({ in: [5], out: [5] });
    await attach(5, 'bob');
    expect(problems.length).toBe(2);
  });

  test('what stands in for one counts at first, and never instead of a real one', async () => {
    let limit: Limiter = unreachable;
    const policy = { limit: ((ask, call) => limit(ask, call)) as Limiter };
    const contract = contractByKind.limiter;
    const literal = combine(contract, [{ name: 'a', policy, onError: { reply: [rate(3, 3, 'joe')] } }]);
    const { attach, wait, problems } = scene({ handler: (ask, call) => literal.limit(ask, call) });
    const conn = await attach(1, 'joe');
    expect(ratesOf(conn)).toEqual({ in: [3], out: [3] });
    limit = () => [rate(8, 8, 'joe')];
    await wait(1100);
    expect(ratesOf(conn)).toEqual({ in: [8], out: [8] });
    limit = unreachable;
    await wait(40_000);
    expect(ratesOf(conn)).toEqual({ in: [8], out: [8] });
    expect(problems).toEqual([]);

    const usual = combine(contract, [{ name: 'a', policy }]);
    const other = scene({ handler: (ask, call) => usual.limit(ask, call) });
    expect(ratesOf(await other.attach(1, 'joe'))).toEqual({ in: [], out: [] });
    expect(other.problems).toMatchObject([{ code: 'couldNotAsk' }]);
    expect(other.limits.unanswered).toBe(1);
  });

  test('it may be refused', async () => {
    const { attach, limits } = scene({ handler: unreachable }, { onUnanswered: 'refuse' });
    await expect(attach(1, 'joe')).rejects.toMatchObject({ code: 'couldNotAsk', at: 'plugin' });
    expect(limits.entries).toBe(0);
    const thrown = scene({
      handler: () => {
        throw new TypeError('a mistake');
      },
    });
    expect(ratesOf(await thrown.attach(1, 'joe'))).toEqual({ in: [], out: [] });
    await thrown.wait(1100);
    expect(thrown.asks.length).toBe(2);
  });
});

describe('what is kept', () => {
  test('ends with the connection; a user who comes back at once finds the bucket as it was left', async () => {
    const { clock, meter, limits, asks, attach, wait, wheel } = scene({
      service: () => [rate(1, 1, '$$')],
      handler: ({ user }) => [rate(100, 100, user)],
    });
    const conn = await attach(1, 'joe');
    conn.shaped.buckets.in[1]!.take(1, clock.nowMs);
    const own = conn.shaped.buckets.in.find(({ ratePerSecond }) => ratePerSecond === 100)!;
    own.take(1100, clock.nowMs);
    conn.detach();
    conn.detach();
    expect(conn.shaped.buckets).toEqual(noBuckets);
    // The service's and the user's answers are left, and the user's two buckets.
    expect(limits.entries).toBe(2);
    expect(meter.used).toBe(2);
    const again = await attach(2, 'joe');
    expect(again.shaped.buckets.in).toContain(own);
    expect(own.waitMs(clock.nowMs)).toBe(10_000);
    again.detach();
    const count = asks.length;
    await wait(30_100);
    expect(asks.length).toBe(count);
    expect([limits.entries, meter.used, wheel.pending]).toEqual([0, 0, 0]);
  });

  test('is bounded: the answers of those who are gone go first', async () => {
    const { limits, meter, attach } = scene({ handler: ({ user }) => [rate(1, 1, user)] }, { maxEntries: 3 });
    const staying = await attach(1, 'staying');
    for (let i = 0; i < 50; i++) (await attach(2, `user ${String(i)}`)).detach();
    expect(limits.entries).toBe(3);
    expect(meter.used).toBe(6);
    expect(ratesOf(staying)).toEqual({ in: [1], out: [1] });
    limits.close();
    expect([limits.entries, meter.used]).toEqual([0, 0]);
    expect(staying.shaped.buckets).toEqual(noBuckets);
  });

  test('a meter that is full is an error, and nothing of it is left', async () => {
    const meter = createMeter({ maxSlots: 3 });
    const { attach, limits } = scene({ handler: ({ user }) => [rate(1, 1, user)] }, { meter });
    const first = await attach(1, 'a');
    await expect(attach(2, 'b')).rejects.toMatchObject({ code: 'internal' });
    expect([limits.entries, meter.used]).toEqual([1, 2]);
    first.detach();
    limits.close();
    expect(meter.used).toBe(0);
  });
});
