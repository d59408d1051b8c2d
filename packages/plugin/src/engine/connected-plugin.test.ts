import { channel } from 'node:diagnostics_channel';
import { afterEach, describe, expect, test } from 'vitest';
import type { Call, CallEvent, PluginTransport } from '../contract.ts';
import { ingress } from '../contracts/ingress.ts';
import { recorder } from '../contracts/recorder.ts';
import { PluginError } from '../errors.ts';
import { authAsk, yes, call, connectAuth, connectBypass, ask, outcome } from './connected-plugin.fixture.ts';
import { connectOver } from './connected-plugin.ts';
import { callChannel } from './events.ts';
import { memoryTransports } from './transports.fixture.ts';

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
