import assert from 'node:assert/strict';
import { connectPlugin } from '../client.ts';
import type { AnyMethod, Call, Contract, Methods, PluginTransport } from '../contract.ts';
import type { ConnectPluginOptions } from '../engine/connected-plugin.ts';
import type { TlsSettings } from '../wire/endpoint.ts';
import type { ConformanceCase } from './conformance-case.ts';
import type { EchoPlugin } from './echo-plugin.ts';
import { expectFailure } from './expect-failure.ts';
import { samplesOf, typicalSample } from './samples.ts';
import type { Sample } from './samples.ts';
import { grpcServerCases } from './server-conformance-grpc.ts';
import { httpServerCases } from './server-conformance-http.ts';

/** Which server, and how it is reached. */
export interface ServerConformanceOptions<M extends Methods = Methods> {
  /** The module that it must serve; it may serve others too. */
  readonly contract: Contract<M>;
  readonly transport: PluginTransport;
  /** As in a configuration: `127.0.0.1:8000`, `http://127.0.0.1:8000/auth`, `unix:/p.sock`. */
  readonly addr: string;
  /** What the server asks for. Absent: that a wrong one is refused is not looked at. */
  readonly token?: string;
  readonly tls?: TlsSettings;
  /** How long one answer may take, in milliseconds. Default 5,000: it is a fault to be slow, but not one of the wire. */
  readonly timeoutMs?: number;
  /**
   * What the server answers with, where it runs in this process: then each question is looked at as it arrived, and each
   * answer is compared. Without it any answer is good.
   */
  readonly echo?: EchoPlugin<M>;
}

/** The same for the parts of the suite, with nothing left open. */
export interface ServerUnderTest {
  readonly contract: Contract;
  readonly addr: string;
  readonly token: string | undefined;
  readonly tls: TlsSettings | undefined;
  readonly timeoutMs: number;
  /** Asks one question on a connection of its own, as a proxy would. Rejects with PluginError. */
  ask(method: string, ask: unknown, more?: Partial<ConnectPluginOptions>): Promise<unknown>;
}

/** A contract's methods where only their names are known. */
export type AnyPolicy = Readonly<Record<string, (ask: unknown, call: Call) => unknown>>;

const atOnce = 100;

/**
 * Derives the cases that a plugin server must pass, whatever it is written in: each sample of each method is answered in
 * time; a hundred questions at once are, too; what is not served, not allowed or not understood is refused as the wire has
 * it, and the server answers good questions afterwards; so it does when askers cancel.
 *
 * The server is asked with made-up names and passwords, and told made-up records, events, rules and services: run it
 * against one that is there for tests. Throws PluginError where the address or the token cannot be used.
 */
export function serverConformance<M extends Methods>(
  options: ServerConformanceOptions<M>,
): readonly ConformanceCase[] {
  const { transport, addr, token, tls, timeoutMs = 5_000 } = options;
  const contract = options.contract as unknown as Contract;
  const echo = options.echo as EchoPlugin | undefined;
  const connectOptions: ConnectPluginOptions = { transport, addr, token, tls, timeoutMs };

  const withPlugin = async (
    use: (policy: AnyPolicy) => unknown,
    more: Partial<ConnectPluginOptions> = {},
  ): Promise<void> => {
    const plugin = connectPlugin(contract, { ...connectOptions, ...more });
    try {
      await use(plugin as unknown as AnyPolicy);
    } finally {
      await plugin.close(0);
    }
  };
  const askOnce: ServerUnderTest['ask'] = async (method, ask, more) => {
    let answer: unknown;
    await withPlugin(async (policy) => (answer = await policy[method]!(ask, { meta: {} })), more);
    return answer;
  };
  // An address that cannot be used is told here and not in every case.
  void connectPlugin(contract, connectOptions).close(0);

  const cases: ConformanceCase[] = [];
  const add = (name: string, run: () => Promise<void>): void => {
    cases.push({
      name,
      run: async () => {
        echo?.forget();
        await run();
      },
    });
  };

  for (const [name, method] of Object.entries<AnyMethod>(contract.methods)) {
    for (const sample of samplesOf(contract, name)) {
      add(`${name}: ${sample.name}`, async () => {
        echo?.expect(name, sample.ask, sample.answer);
        const answer = await askOnce(name, sample.ask);
        checkAnswer(name, method, sample, answer, echo, transport);
      });
    }
    add(`${name}: ${atOnce} at once`, () =>
      withPlugin((policy) => checkMany(policy, name, contract, echo), { maxConcurrent: atOnce }),
    );
    add(`${name}: canceled questions leave the others alone`, () =>
      withPlugin((policy) => checkCanceled(policy, name, contract)),
    );
  }
  const server: ServerUnderTest = { contract, addr, token, tls, timeoutMs, ask: askOnce };
  const more = transport === 'grpc' ? grpcServerCases(server) : httpServerCases(server);
  for (const { name, run } of more) add(name, run);
  if (token !== undefined && token !== '') addTokenCases(server, add);
  return cases;
}

function checkAnswer(
  name: string,
  method: AnyMethod,
  { ask, answer: expected }: Sample,
  answer: unknown,
  echo: EchoPlugin | undefined,
  transport: PluginTransport,
): void {
  if (echo === undefined || method.known?.(ask, transport) !== undefined) return;
  assert.deepEqual(echo.asked, [{ method: name, ask, transport }], 'what arrived is not what was asked');
  assert.deepEqual(answer, expected, 'what came back is not what was answered');
}

/** Different questions at once, each of which must get its own answer. */
export async function checkMany(
  policy: AnyPolicy,
  name: string,
  contract: Contract,
  echo: EchoPlugin | undefined,
): Promise<void> {
  const { ask: typical } = typicalSample(contract, name);
  const { wire } = contract.methods[name]!;
  const answers = samplesOf(contract, name)
    .filter((sample) => sample.name !== 'large')
    .map(({ answer }) => answer);
  const asks = Array.from({ length: atOnce }, (_, i) => numbered(wire.request(typical), i)).map((request) =>
    wire.ask(request),
  );
  const expected = asks.map((ask, i) => {
    const answer = answers[i % answers.length];
    // Part of an answer may follow from the question.
    const request = wire.request(ask);
    return wire.answer(wire.reply(answer, request, 'grpc'), ask) as unknown;
  });
  asks.forEach((ask, i) => echo?.expect(name, ask, expected[i]));
  const settled = await Promise.allSettled(
    asks.map(async (ask) => policy[name]!(ask, { meta: {} }) as Promise<unknown>),
  );
  settled.forEach((one, i) => {
    if (one.status === 'rejected') throw one.reason;
    if (echo !== undefined) assert.deepEqual(one.value, expected[i], `question ${i} got another's answer`);
  });
}

/** The same message with a number in its first text or bytes, however deep. */
function numbered(request: object, number: number): object {
  const copy: Record<string, unknown> = { ...request };
  for (const [key, value] of Object.entries(copy)) {
    if (typeof value === 'string') return { ...copy, [key]: `${value} ${number}` };
    if (Buffer.isBuffer(value)) return { ...copy, [key]: Buffer.concat([value, Buffer.from(` ${number}`)]) };
    if (Array.isArray(value)) return { ...copy, [key]: value.map((one: object) => numbered(one, number)) };
    if (typeof value === 'object' && value !== null) return { ...copy, [key]: numbered(value, number) };
  }
  throw new TypeError('a request without a text cannot be told from others');
}

async function checkCanceled(policy: AnyPolicy, name: string, contract: Contract): Promise<void> {
  const { ask } = typicalSample(contract, name);
  await policy[name]!(ask, { meta: {} });
  const wire = contract.methods[name]!.wire;
  for (let round = 0; round < 5; round++) {
    const canceled = Array.from({ length: 10 }, async (_, i) => {
      const controller = new AbortController();
      const other = wire.ask(numbered(wire.request(ask), i)) as unknown;
      const answer = policy[name]!(other, { meta: {}, signal: controller.signal });
      // Some before they are written, some after.
      if (i % 2 === 0) setImmediate(() => controller.abort());
      else controller.abort();
      return answer;
    });
    const settled = await Promise.allSettled(canceled);
    for (const one of settled) {
      if (one.status === 'rejected') await expectFailure(Promise.reject(one.reason as Error), ['canceled']);
    }
    await policy[name]!(ask, { meta: {} });
  }
}

function addTokenCases(server: ServerUnderTest, add: (name: string, run: () => Promise<void>) => void): void {
  const { contract, token = '', ask } = server;
  for (const name of Object.keys(contract.methods)) {
    const { ask: question } = typicalSample(contract, name);
    const wrong: readonly (readonly [string, string])[] = [
      ['a wrong token', 'not-the-token'],
      ['no token', ''],
      ['the beginning of the token', token.slice(0, -1)],
      ['more than the token', `${token}x`],
    ];
    for (const [what, other] of wrong) {
      add(`${name}: ${what} is refused`, async () => {
        await expectFailure(ask(name, question, { token: other }), ['unauthenticated']);
      });
    }
  }
}
