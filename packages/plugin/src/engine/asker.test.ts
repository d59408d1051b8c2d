import { afterEach, describe, expect, test, vi } from 'vitest';
import { recorder } from '../contracts/recorder.ts';
import { PluginError } from '../errors.ts';
import {
  yes,
  call,
  refused,
  broken,
  late,
  connectAuth,
  connectBypass,
  ask,
  stopClock,
  outcome,
} from './connected-plugin.fixture.ts';
import { connectOver } from './connected-plugin.ts';
import { memoryTransports } from './transports.fixture.ts';
import type { PendingCall } from './transports.fixture.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('cache', () => {
  test('nothing is remembered unless the reply or the configuration says so', async () => {
    const { memory, calls, ask } = connectAuth();
    memory.respond = (one) => one.answer(yes);
    await ask();
    await ask();
    expect(calls).toHaveLength(2);
  });

  test("a reply's TTL counts, for the same user with the same password at another port", async () => {
    const { memory, calls, ask } = connectAuth();
    memory.respond = (one) => one.answer(yes, { ttlMs: 60_000, reason: 'r', tags: ['t'] });
    await ask();
    const one = call();
    await expect(ask({ client: '1.2.3.4:6' }, one)).resolves.toEqual(yes);
    expect(calls).toHaveLength(1);
    expect(one.meta).toMatchObject({ reason: 'r', tags: ['t'] });
    expect(one.meta.ttlMs).toBeGreaterThan(50_000);
    expect(one.meta.ttlMs).toBeLessThanOrEqual(60_000);
    await ask({ password: 'q' });
    await ask({ client: '1.2.3.5:5' });
    await ask({ username: 'v' });
    await ask({ service: 'x' });
    expect(calls).toHaveLength(5);
  });

  test('a TTL of 0 in the reply goes before the configuration; yes and no have their own', async () => {
    const configured = connectAuth({ cache: { ttlMs: 60_000 } });
    configured.memory.respond = (one) => one.answer({ ok: false, user: '' });
    await configured.ask();
    await configured.ask();
    expect(configured.calls).toHaveLength(2);
    configured.memory.respond = (one) => one.answer(yes, { ttlMs: 0 });
    await configured.ask();
    await configured.ask();
    expect(configured.calls).toHaveLength(4);
    configured.memory.respond = (one) => one.answer(yes);
    await configured.ask();
    await configured.ask();
    expect(configured.calls).toHaveLength(5);

    const negative = connectAuth({ cache: { negativeTtlMs: 60_000 } });
    negative.memory.respond = (one) => one.answer({ ok: false, user: '' });
    await negative.ask();
    await negative.ask();
    expect(negative.calls).toHaveLength(1);
  });

  test('what is remembered is forgotten when its time has passed, and what came beside it tells how much is left', async () => {
    const { memory, calls, ask } = connectAuth();
    stopClock();
    memory.respond = (one) => one.answer(yes, { ttlMs: 1000 });
    await ask();
    vi.advanceTimersByTime(600);
    const one = call();
    await ask({}, one);
    expect(one.meta.ttlMs).toBe(400);
    vi.advanceTimersByTime(400);
    await ask();
    expect(calls).toHaveLength(2);
  });

  test('failures are never remembered', async () => {
    const { memory, calls, ask } = connectAuth({ cache: { ttlMs: 60_000, negativeTtlMs: 60_000 } });
    memory.respond = (one) => one.fail(new PluginError('internal', 'no'));
    await outcome(ask());
    await outcome(ask());
    expect(calls).toHaveLength(2);
  });
});

describe('coalescing', () => {
  test('identical questions in flight share one call and its meta; others do not', async () => {
    const { calls, ask } = connectBypass();
    const one = call();
    const two = call();
    const answers = [ask({}, one), ask({}, two), ask({ user: 'x' })];
    expect(calls).toHaveLength(2);
    calls[0]!.answer(true, { reason: 'why' });
    calls[1]!.answer(false);
    expect(await Promise.all(answers)).toEqual([true, true, false]);
    expect([one.meta.reason, two.meta.reason]).toEqual(['why', 'why']);
    void ask();
    expect(calls).toHaveLength(3);
  });

  test('authers are never shared', () => {
    const { calls, ask } = connectAuth();
    void ask();
    void ask();
    expect(calls).toHaveLength(2);
  });

  test('one who leaves does not take the answer from the others; the last one ends the call', async () => {
    const { calls, ask } = connectBypass();
    const [first, second] = [new AbortController(), new AbortController()];
    const one = outcome(ask({}, call(first.signal)));
    const two = ask({}, call(second.signal));
    first.abort();
    expect(await one).toBe('canceled');
    expect(calls[0]!.settled).toBe(false);
    calls[0]!.answer(true);
    await expect(two).resolves.toBe(true);

    const [third, fourth] = [new AbortController(), new AbortController()];
    const gone = [outcome(ask({}, call(third.signal))), outcome(ask({}, call(fourth.signal)))];
    third.abort();
    fourth.abort();
    expect(await Promise.all(gone)).toEqual(['canceled', 'canceled']);
    expect(calls[1]!.settled).toBe(true);
    // Nobody joins a call that is being ended.
    void ask();
    expect(calls).toHaveLength(3);
  });
});

describe('cap and queue', () => {
  test('calls beyond the cap wait in order; beyond the queue they are overloaded', async () => {
    const { calls, ask } = connectAuth({ maxConcurrent: 2, maxQueued: 1 });
    const answers = [ask({ username: '1' }), ask({ username: '2' }), ask({ username: '3' })];
    await expect(ask({ username: '4' })).rejects.toMatchObject({ code: 'overloaded', unsent: true });
    expect(calls).toHaveLength(2);
    calls[1]!.answer(yes);
    await answers[1];
    await vi.waitFor(() => expect(calls).toHaveLength(3));
    expect(calls[2]!.ask).toMatchObject({ username: '3' });
    calls[0]!.answer(yes);
    calls[2]!.answer(yes);
    expect(await Promise.all(answers)).toEqual([yes, yes, yes]);
  });

  test('waiting counts against the deadline, and the signal ends it', async () => {
    const { calls, ask } = connectAuth({ maxConcurrent: 1, timeoutMs: 30 });
    const running = ask();
    const controller = new AbortController();
    const waiting = [outcome(ask()), outcome(ask({}, call(controller.signal)))];
    controller.abort();
    expect(await Promise.all(waiting)).toEqual(['timeout', 'canceled']);
    const waited = ask();
    calls[0]!.answer(yes);
    await running;
    await vi.waitFor(() => expect(calls).toHaveLength(2));
    expect(calls[1]!.timeoutMs).toBeLessThanOrEqual(30);
    calls[1]!.answer(yes);
    await waited;
    const next = ask();
    calls[2]!.answer(yes);
    await expect(next).resolves.toEqual(yes);
  });
});

describe('endpoints', () => {
  const at = (one: PendingCall | undefined) => one?.endpoint.url;

  test('the first is asked; when it breaks the next, once', async () => {
    const { memory, calls, ask } = connectAuth({ addr: 'a:1,b:2,c:3' });
    memory.respond = (one) => one.fail(broken());
    await expect(ask()).rejects.toMatchObject({ code: 'unreachable', endpoint: 'grpc://b:2' });
    expect(calls.map(at)).toEqual(['grpc://a:1', 'grpc://b:2']);
    memory.respond = (one) => (at(one) === 'grpc://a:1' ? one.fail(refused()) : one.answer(yes));
    await expect(ask()).resolves.toEqual(yes);
  });

  test('an idempotent call leaves half of its time for another endpoint', async () => {
    const { calls, ask } = connectAuth({ addr: 'a:1,b:2' });
    const answer = ask();
    expect(calls[0]!.timeoutMs).toBe(1000);
    calls[0]!.fail(late());
    await vi.waitFor(() => expect(calls).toHaveLength(2));
    expect(calls[1]!.timeoutMs).toBeGreaterThan(1500);
    calls[1]!.answer(yes);
    await expect(answer).resolves.toEqual(yes);
  });

  test('with one endpoint: again when the connection broke, not when a server spoke or nothing was sent', async () => {
    const answers: [PluginError, number][] = [
      [broken(), 2],
      [refused(), 1],
      [late(), 1],
      [new PluginError('unreachable', '503', { httpStatus: 503 }), 1],
      [new PluginError('unreachable', 'UNAVAILABLE', { grpcStatus: 14, headers: [], trailers: [] }), 1],
      [new PluginError('internal', 'INTERNAL'), 1],
    ];
    for (const [error, sent] of answers) {
      const { memory, calls, ask } = connectAuth();
      memory.respond = (one) => one.fail(error);
      expect(await outcome(ask())).toBe(error.code);
      expect(calls).toHaveLength(sent);
    }
  });

  test('what may have arrived is not sent again unless it is idempotent', async () => {
    const memory = memoryTransports(recorder, 'record');
    const plugin = connectOver(memory.transports, recorder, { addr: 'a:1,b:2' });
    const record = () => ask(plugin.record({ data: Buffer.from('x'), metadata: null }, call()));
    memory.respond = (one) => one.fail(broken());
    expect(await outcome(record())).toBe('unreachable');
    expect(memory.calls).toHaveLength(1);
    memory.respond = (one) => (at(one) === 'grpc://a:1' ? one.fail(refused()) : one.answer(true));
    await expect(record()).resolves.toBe(true);
    expect(memory.calls).toHaveLength(3);
  });

  test('a dead one is left alone, and used again when it is back', async () => {
    const { memory, calls, ask } = connectAuth({
      addr: 'a:1,b:2',
      breaker: { failures: 2, cooldownMs: 200 },
    });
    stopClock();
    let dead = true;
    memory.respond = (one) => (dead && at(one) === 'grpc://a:1' ? one.fail(refused()) : one.answer(yes));
    const asked = async () => {
      calls.length = 0;
      await ask();
      return calls.map(at);
    };
    expect(await asked()).toEqual(['grpc://a:1', 'grpc://b:2']);
    expect(await asked()).toEqual(['grpc://a:1', 'grpc://b:2']);
    expect(await asked()).toEqual(['grpc://b:2']);
    vi.advanceTimersByTime(200);
    // One tries, and its user is answered by the other all the same.
    expect(await asked()).toEqual(['grpc://a:1', 'grpc://b:2']);
    expect(await asked()).toEqual(['grpc://b:2']);
    dead = false;
    vi.advanceTimersByTime(200);
    expect(await asked()).toEqual(['grpc://a:1']);
    expect(await asked()).toEqual(['grpc://a:1']);
  });
});

describe('breaker', () => {
  test('after so many failures in a row calls fail at once with the same code; one in each while goes through', async () => {
    const { memory, calls, ask } = connectAuth({ breaker: { failures: 3, cooldownMs: 200 } });
    stopClock();
    memory.respond = (one) => one.fail(late());
    for (let i = 0; i < 3; i++) await outcome(ask());
    expect(calls).toHaveLength(3);
    await expect(ask()).rejects.toMatchObject({
      code: 'timeout',
      unsent: true,
      message: 'auth.authenticate: not asked, because the last calls failed; the last one: too late',
    });
    vi.advanceTimersByTime(199);
    await outcome(ask());
    expect(calls).toHaveLength(3);
    vi.advanceTimersByTime(1);
    expect([await outcome(ask()), await outcome(ask())]).toEqual(['timeout', 'timeout']);
    expect(calls).toHaveLength(4);
    vi.advanceTimersByTime(200);
    memory.respond = (one) => one.answer(yes);
    expect([await outcome(ask()), await outcome(ask())]).toEqual(['ok', 'ok']);
    expect(calls).toHaveLength(6);
  });

  test('errors that a server sends never open it', async () => {
    const { memory, calls, ask } = connectAuth({ breaker: { failures: 2 } });
    for (const code of ['internal', 'badReply', 'unauthenticated', 'overloaded'] as const) {
      memory.respond = (one) => one.fail(new PluginError(code, code));
      for (let i = 0; i < 3; i++) expect(await outcome(ask())).toBe(code);
    }
    expect(calls).toHaveLength(12);
  });
});
