import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { connectPlugin } from '../client.ts';
import type { AnyMethod, Contract, Methods, PluginTransport, Policy } from '../contract.ts';
import { servePlugins } from '../server.ts';
import type { ServePluginsOptions } from '../server.ts';
import type { TlsSettings } from '../wire/endpoint.ts';
import { faultCases } from './client-conformance-faults.ts';
import type { ConformanceCase } from './conformance-case.ts';
import { echoPlugin } from './echo-plugin.ts';
import type { EchoPlugin } from './echo-plugin.ts';
import { expectFailure } from './expect-failure.ts';
import { authorities } from './fault-server.ts';
import { leavingNothing } from './leaks.ts';
import { samplesOf, typicalSample } from './samples.ts';
import { checkMany } from './server-conformance.ts';
import type { AnyPolicy } from './server-conformance.ts';

/** What a client is told of the server that it shall ask. */
export interface ClientOptions {
  readonly transport: PluginTransport;
  /** `127.0.0.1:port`. Over HTTP the path is the module's usual one. */
  readonly addr: string;
  readonly token: string | undefined;
  /** Present: TLS is spoken. */
  readonly tls: TlsSettings | undefined;
  /** The deadline of each call, over connect, question and answer, in milliseconds. */
  readonly timeoutMs: number;
}

/** A client under test: a contract's methods, which reject with PluginError, and the end of it. */
export type ConformingClient<M extends Methods = Methods> = Policy<M> & { close(): Promise<void> };

/** Which client. */
export interface ClientConformanceOptions<M extends Methods = Methods> {
  readonly contract: Contract<M>;
  readonly transport: PluginTransport;
  /** Default `connectPlugin`. Each case makes clients of its own and closes them. */
  readonly connect?: (contract: Contract<M>, options: ClientOptions) => ConformingClient<M>;
  /** The deadline of calls that only their deadline can end, in milliseconds. Default 250. */
  readonly shortMs?: number;
  /** The deadline of all other calls, which must end well before it, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
  /** How long a machine that is busy may take for what takes no time, in milliseconds. Default 5,000. */
  readonly patienceMs?: number;
}

/** The same for the parts of the suite, with nothing left open. */
export interface ClientUnderTest {
  readonly contract: Contract;
  readonly transport: PluginTransport;
  readonly shortMs: number;
  readonly timeoutMs: number;
  readonly patienceMs: number;
  connect(options: ClientOptions): AnyPolicy & { close(): Promise<void> };
}

/**
 * Derives the cases that a plugin client must pass: each sample of each method arrives at a server of ours as it was asked,
 * and its answer comes back as it was given; what is canceled ends as `canceled`; and every fault of `faultsOf` ends in the
 * outcome that it has, those that hang at the deadline and all others by themselves. Afterwards no socket, no timer and no
 * listener at a signal is left. Sockets and timers of the whole process are counted, so run nothing else meanwhile.
 */
export function clientConformance<M extends Methods>(
  options: ClientConformanceOptions<M>,
): readonly ConformanceCase[] {
  const { transport, shortMs = 250, timeoutMs = 10_000, patienceMs = 5_000 } = options;
  const connect = options.connect ?? connectPlugin<M>;
  const contract = options.contract as unknown as Contract;
  const client: ClientUnderTest = {
    contract,
    transport,
    shortMs,
    timeoutMs,
    patienceMs,
    connect: (how) => connect(options.contract, how) as unknown as AnyPolicy & { close(): Promise<void> },
  };
  const cases: ConformanceCase[] = [];
  const add = (name: string, run: () => Promise<void>): void => {
    cases.push({ name, run: () => leavingNothing(patienceMs, run) });
  };
  for (const name of Object.keys(contract.methods)) {
    for (const { name: sample, ask, answer } of samplesOf(contract, name)) {
      add(`${name}: ${sample}`, () =>
        withServer(client, {}, async (policy, echo) => {
          echo.expect(name, ask, answer);
          await checkSample(client, policy, echo, name, ask, answer);
        }),
      );
    }
    add(`${name}: many at once`, () =>
      withServer(client, {}, (policy, echo) => checkMany(policy, name, contract, echo)),
    );
    add(`${name}: canceled before and after it is sent`, () => checkCanceled(client, name));
  }
  const [first] = Object.keys(contract.methods);
  const ask = (policy: AnyPolicy): Promise<unknown> => askTypical(client, policy, first!);
  add('the token is sent', () => withServer(client, { token: 'the-token' }, ask));
  add('a server whose certificate is good is asked over TLS', () =>
    withServer(client, { tls: authorities().authority.issue({ names: ['127.0.0.1'] }) }, ask),
  );
  add('a client certificate is shown where one is asked for', () => {
    const { authority } = authorities();
    const serverTls = { ...authority.issue({ names: ['127.0.0.1'] }), ca: authority.cert };
    return withServer(client, { tls: serverTls }, ask, authority.issue({ names: ['a client'] }));
  });
  add('a server that has gone and come back is asked again', () => checkComeback(client, first!));
  for (const { name, run } of faultCases(client)) add(name, run);
  return cases;
}

/** Serves the contract, connects to it, and closes both. */
async function withServer(
  client: ClientUnderTest,
  options: Pick<ServePluginsOptions, 'token' | 'tls'>,
  use: (policy: AnyPolicy, echo: EchoPlugin) => Promise<unknown>,
  certificate: Pick<TlsSettings, 'cert' | 'key'> = {},
): Promise<void> {
  const echo = echoPlugin(client.contract);
  const server = await servePlugins([echo.module], { port: 0, ...options });
  try {
    const { transport, timeoutMs } = client;
    const tls =
      options.tls === undefined ? undefined : { ca: [authorities().authority.cert], ...certificate };
    const policy = client.connect({ transport, timeoutMs, addr: server.addr, token: options.token, tls });
    try {
      await use(policy, echo);
    } finally {
      await policy.close();
    }
  } finally {
    await server.close(0);
  }
}

function askTypical({ contract }: ClientUnderTest, policy: AnyPolicy, name: string): Promise<unknown> {
  const { ask } = typicalSample(contract, name);
  return Promise.resolve(policy[name]!(ask, { meta: {} }));
}

async function checkSample(
  { contract, transport }: ClientUnderTest,
  policy: AnyPolicy,
  echo: EchoPlugin,
  name: string,
  ask: unknown,
  expected: unknown,
): Promise<void> {
  const { signal } = new AbortController();
  const answer = await policy[name]!(ask, { meta: {}, signal });
  assert.equal(getEventListeners(signal, 'abort').length, 0, 'a listener was left at the signal');
  const method: AnyMethod = contract.methods[name]!;
  if (method.known?.(ask, transport) !== undefined) return;
  assert.deepEqual(echo.asked, [{ method: name, ask, transport }], 'what arrived is not what was asked');
  assert.deepEqual(answer, expected, 'what came back is not what was answered');
}

async function checkCanceled(client: ClientUnderTest, name: string): Promise<void> {
  await withServer(client, {}, async (policy) => {
    const { ask } = typicalSample(client.contract, name);
    await askTypical(client, policy, name);
    for (const when of ['before', 'at once', 'later'] as const) {
      const controller = new AbortController();
      const { signal } = controller;
      if (when === 'before') controller.abort();
      const call = Promise.resolve(policy[name]!(ask, { meta: {}, signal }));
      if (when === 'later') setImmediate(() => controller.abort());
      else controller.abort();
      // The answer may be faster.
      await (when === 'later'
        ? call.catch(() => expectFailure(call, ['canceled']))
        : expectFailure(call, ['canceled']));
      assert.equal(getEventListeners(signal, 'abort').length, 0, 'a listener was left at the signal');
      await askTypical(client, policy, name);
    }
  });
}

/** The same client, one server after the other at the same port. */
async function checkComeback(client: ClientUnderTest, name: string): Promise<void> {
  const { module } = echoPlugin(client.contract);
  let server = await servePlugins([module], { port: 0 });
  const { transport, timeoutMs } = client;
  const policy = client.connect({
    transport,
    timeoutMs,
    addr: server.addr,
    token: undefined,
    tls: undefined,
  });
  try {
    await askTypical(client, policy, name);
    await server.close(0);
    await expectFailure(askTypical(client, policy, name), ['unreachable']);
    const port = Number(server.addr.split(':')[1]);
    server = await servePlugins([module], { port });
    await askTypical(client, policy, name);
  } finally {
    await policy.close();
    await server.close(0);
  }
}
