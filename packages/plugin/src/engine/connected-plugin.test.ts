import { channel } from 'node:diagnostics_channel';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Call, CallEvent, PluginTransport } from '../contract.ts';
import { auth } from '../contracts/auth.ts';
import { bypass } from '../contracts/bypass.ts';
import { ingress } from '../contracts/ingress.ts';
import { recorder } from '../contracts/recorder.ts';
import { PluginError } from '../errors.ts';
import { connectOver } from './connected-plugin.ts';
import type { ConnectPluginOptions } from './connected-plugin.ts';
import { callChannel } from './events.ts';
import { memoryTransports } from './transports.fixture.ts';
import type { PendingCall } from './transports.fixture.ts';

const authAsk = { username: 'u', password: 'p', client: '1.2.3.4:5', service: 's', certificate: undefined };
const bypassAsk = { target: 'h:1', user: '', network: 'tcp', host: '', path: '', service: '' };
const yes = { ok: true, user: 'a' };
const call = (signal?: AbortSignal): Call => ({ meta: {}, signal });
const refused = () => new PluginError('unreachable', 'refused', { unsent: true });
const broken = () => new PluginError('unreachable', 'broke');
const late = () => new PluginError('timeout', 'too late');

const connectAuth = (options: Partial<ConnectPluginOptions> = {}) => {
  const memory = memoryTransports(auth, 'authenticate');
  const plugin = connectOver(memory.transports, auth, { addr: 'a:1', ...options });
  return {
    ...memory,
    memory,
    plugin,
    ask: (more = {}, one = call()) => ask(plugin.authenticate({ ...authAsk, ...more }, one)),
  };
};
const connectBypass = (options: Partial<ConnectPluginOptions> = {}) => {
  const memory = memoryTransports(bypass, 'bypass');
  const plugin = connectOver(memory.transports, bypass, { addr: 'a:1', ...options });
  return {
    ...memory,
    memory,
    plugin,
    ask: (more = {}, one = call()) => ask(plugin.bypass({ ...bypassAsk, ...more }, one)),
  };
};
/** Always a promise, whose rejection is looked at later. */
async function ask<T>(answer: T | Promise<T>): Promise<T> {
  return answer;
}
const outcome = (answer: Promise<unknown>): Promise<string> =>
  answer.then(
    () => 'ok',
    (error: PluginError) => error.code,
  );

describe.each<PluginTransport>(['grpc', 'http'])('over %s', (transport) => {
  test('a question goes out with its deadline and comes back as an answer with its meta', async () => {
    const { calls, ask } = connectAuth({ transport, token: 'tok' });
    const one = call();
    const answer = ask({}, one);
    expect(calls[0]!.ask).toEqual(authAsk);
    expect(calls[0]!.timeoutMs).toBe(2000);
    if (transport === 'grpc') {
      expect(calls[0]!.grpc).toMatchObject({
        path: '/proto.Authenticator/Authenticate',
        metadata: ['token', 'tok'],
      });
    } else {
      expect(calls[0]!.http).toMatchObject({
        verb: 'POST',
        path: '/auth',
        headers: ['content-type', 'application/json', 'authorization', 'Bearer tok'],
      });
    }
    calls[0]!.answer(yes, { ttlMs: 0, reason: 'wéll known', tags: ['a,b'] });
    await expect(answer).resolves.toEqual(yes);
    expect(one.meta).toEqual({ ttlMs: 0, reason: 'wéll known', tags: ['a,b'] });
  });

  test('garbage is badReply with the endpoint, and never a no', async () => {
    const { calls, ask } = connectAuth({ transport });
    const answer = ask();
    calls[0]!.garble();
    const url = transport === 'grpc' ? 'grpc://a:1' : 'http://a:1/auth';
    await expect(answer).rejects.toMatchObject({ name: 'PluginError', code: 'badReply', endpoint: url });
  });

  test('the signal reaches the transport, and one that has fired sends nothing', async () => {
    const { calls, ask } = connectAuth({ transport });
    const controller = new AbortController();
    const answer = ask({}, call(controller.signal));
    expect(calls[0]!.signal).toBe(controller.signal);
    controller.abort();
    await expect(answer).rejects.toMatchObject({ code: 'canceled' });
    await expect(ask({}, call(controller.signal))).rejects.toMatchObject({ code: 'canceled', unsent: true });
    expect(calls).toHaveLength(1);
  });
});

describe('options', () => {
  test('a question of the wrong shape rejects and sends nothing', async () => {
    const { calls, ask } = connectAuth({ cache: { ttlMs: 1000 } });
    await expect(ask({ username: 7 })).rejects.toMatchObject({ name: 'PluginError', code: 'internal' });
    const shapeless = connectBypass();
    await expect(shapeless.ask({ target: undefined })).rejects.toMatchObject({ code: 'internal' });
    expect(calls).toEqual([]);
  });

  test('a token that no header can hold, and no address, are refused at once', () => {
    for (const token of ['a\r\nb', 'ü', ' a']) expect(() => connectAuth({ token })).toThrow(/token/);
    expect(() => connectAuth({ addr: 'x' })).toThrow(/port is missing/);
  });

  test('credentials of the URL win over the token, and its query is kept', async () => {
    const memory = memoryTransports(ingress, 'getRule');
    const plugin = connectOver(memory.transports, ingress, {
      transport: 'http',
      addr: 'http://u:p@h/x?zone=1&host=evil&b=2',
      token: 'tok',
    });
    const answer = ask(plugin.getRule({ host: 'a b', service: 's' }, call()));
    expect(memory.calls[0]!.http).toMatchObject({
      path: '/x?b=2&host=a+b&service=s&zone=1',
      headers: ['content-type', 'application/json', 'authorization', 'Basic dTpw'],
    });
    memory.calls[0]!.answer('e');
    await expect(answer).resolves.toBe('e');
  });

  test('an empty record is not sent over HTTP, as in GOST, but is over gRPC', async () => {
    for (const [transport, sent] of [
      ['http', 0],
      ['grpc', 1],
    ] as const) {
      const memory = memoryTransports(recorder, 'record');
      memory.respond = (one) => one.answer(true);
      const plugin = connectOver(memory.transports, recorder, { addr: 'h:1', transport });
      await expect(ask(plugin.record({ data: Buffer.alloc(0), metadata: null }, call()))).resolves.toBe(true);
      expect(memory.calls).toHaveLength(sent);
    }
  });

  test("timeoutMs stands in for the contract's deadline", () => {
    const { calls, ask } = connectAuth({ timeoutMs: 77 });
    void ask();
    expect(calls[0]!.timeoutMs).toBe(77);
  });

  test('it is a policy: its methods are all that is found in it', () => {
    const { plugin } = connectAuth({ transport: 'http', addr: 'http://a:1', tls: {} });
    expect(Object.keys(plugin)).toEqual(['authenticate']);
    expect(Object.keys(connectAuth({ onError: 'refuse' }).plugin)).toEqual(['authenticate']);
    expect(plugin.warnings).toEqual([expect.stringContaining('plain text')]);
  });

  test('closing turns away who waits and who comes, and closes each endpoint', async () => {
    const { calls, ask, plugin, closed } = connectAuth({ addr: 'a:1,b:2', maxConcurrent: 1 });
    const running = ask();
    const waiting = outcome(ask());
    await plugin.close(5);
    expect(closed).toEqual([5, 5]);
    expect(await waiting).toBe('unreachable');
    await expect(ask()).rejects.toMatchObject({ code: 'unreachable' });
    calls[0]!.answer(yes);
    await expect(running).resolves.toEqual(yes);
  });
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
    expect(calls[1]!.timeoutMs).toBeGreaterThan(1900);
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
    const { memory, calls, ask } = connectAuth({ addr: 'a:1,b:2', breaker: { failures: 2, cooldownMs: 20 } });
    let dead = true;
    memory.respond = (one) => (dead && at(one) === 'grpc://a:1' ? one.fail(refused()) : one.answer(yes));
    await ask();
    await ask();
    calls.length = 0;
    await ask();
    expect(calls.map(at)).toEqual(['grpc://b:2']);
    dead = false;
    await vi.waitFor(async () => {
      calls.length = 0;
      await ask();
      expect(calls.map(at)).toEqual(['grpc://a:1']);
    });
  });
});

describe('breaker', () => {
  test('after so many failures in a row calls fail at once with the same code; one in each while goes through', async () => {
    const { memory, calls, ask } = connectAuth({ breaker: { failures: 3, cooldownMs: 25 } });
    memory.respond = (one) => one.fail(late());
    for (let i = 0; i < 3; i++) await outcome(ask());
    expect(calls).toHaveLength(3);
    await expect(ask()).rejects.toMatchObject({
      code: 'timeout',
      unsent: true,
      message: 'auth.authenticate: not asked, because the last calls failed; the last one: too late',
    });
    expect(calls).toHaveLength(3);
    await vi.waitFor(async () => {
      await outcome(ask());
      expect(calls).toHaveLength(4);
    });
    expect(await outcome(ask())).toBe('timeout');
    expect(calls).toHaveLength(4);
    memory.respond = (one) => one.answer(yes);
    await vi.waitFor(async () => expect(await outcome(ask())).toBe('ok'));
    expect(await outcome(ask())).toBe('ok');
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

describe('onError of a single plugin', () => {
  test('stands in for the answer, and an event says so', async () => {
    const events: CallEvent[] = [];
    const { memory, plugin } = connectAuth({ onError: { reply: yes }, name: 'users' });
    memory.respond = (one) => one.fail(new PluginError('internal', 'no'));
    const observed: Call = { meta: {}, observe: (event) => events.push(event) };
    await expect(ask(plugin.authenticate(authAsk, observed))).resolves.toEqual(yes);
    expect(events.map(({ source, outcome, name }) => [source, outcome, name])).toEqual([
      ['live', 'internal', 'users'],
      ['fallback', 'internal', 'users'],
    ]);
  });
});

describe('events', () => {
  const seen: CallEvent[] = [];
  const listener = (event: unknown) => void seen.push(event as CallEvent);
  afterEach(() => {
    channel(callChannel).unsubscribe(listener);
    seen.length = 0;
  });

  test('one for every question, with its source, on the channel', async () => {
    channel(callChannel).subscribe(listener);
    const { memory, ask, calls } = connectBypass({ name: 'n', transport: 'http' });
    const leaving = new AbortController();
    const answers = [ask(), ask({}, { meta: {}, session: 's2' }), outcome(ask({}, call(leaving.signal)))];
    leaving.abort();
    await answers[2];
    calls[0]!.answer(true, { ttlMs: 60_000, reason: 'because' });
    await Promise.all(answers);
    await ask();
    memory.respond = (one) => one.fail(new PluginError('internal', 'oops'));
    await outcome(ask({ user: 'x' }));
    expect(seen.map(({ source, outcome, session }) => [source, outcome, session])).toEqual([
      ['coalesced', 'canceled', undefined],
      ['live', 'ok', undefined],
      ['coalesced', 'ok', 's2'],
      ['cached', 'ok', undefined],
      ['live', 'internal', undefined],
    ]);
    expect(seen[1]).toEqual({
      module: 'bypass',
      method: 'bypass',
      name: 'n',
      endpoint: 'http://a:1/bypass',
      transport: 'http',
      session: undefined,
      outcome: 'ok',
      source: 'live',
      ms: expect.any(Number) as number,
      bytesSent: 30,
      bytesReceived: 20,
      reason: 'because',
      error: undefined,
    });
    expect(seen[3]).toMatchObject({ endpoint: '', reason: 'because', bytesSent: 0 });
    expect(seen[4]).toMatchObject({ error: 'oops', endpoint: 'http://a:1/bypass' });
  });

  test("a listener's fault is not the call's", async () => {
    const { memory, ask } = connectAuth();
    memory.respond = (one) => one.answer(yes);
    const thrown = new Promise((resolve) => {
      const others = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.once('uncaughtException', (error) => {
        for (const other of others) process.on('uncaughtException', other);
        resolve(error);
      });
    });
    const observe = () => {
      throw new Error('of the listener');
    };
    await expect(ask({}, { meta: {}, observe })).resolves.toEqual(yes);
    await expect(thrown).resolves.toMatchObject({ message: 'of the listener' });
  });
});
