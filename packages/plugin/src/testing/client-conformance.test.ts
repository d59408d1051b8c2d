import { describe, expect, test } from 'vitest';
import { connectPlugin } from '../client.ts';
import type { Call } from '../contract.ts';
import { auth } from '../contracts/auth.ts';
import type { AuthAsk, AuthAnswer } from '../contracts/auth.ts';
import { clientConformance } from './client-conformance.ts';
import type { ClientOptions, ConformingClient } from './client-conformance.ts';

type AuthClient = ConformingClient<typeof auth.methods>;
type Authenticate = (ask: AuthAsk, call: Call) => Promise<AuthAnswer>;

/** What the suite says of a client that is ours but for one thing. */
async function verdict(
  caseName: string,
  spoil: (options: ClientOptions, ask: Authenticate, client: AuthClient) => Partial<AuthClient>,
  change: (options: ClientOptions) => ClientOptions = (options) => options,
): Promise<unknown> {
  const left: AuthClient[] = [];
  const cases = clientConformance({
    contract: auth,
    transport: 'http',
    shortMs: 60,
    timeoutMs: 200,
    patienceMs: 200,
    connect: (contract, options) => {
      const client = connectPlugin(contract, change(options));
      left.push(client);
      const ask: Authenticate = async (question, call) => client.authenticate(question, call);
      return {
        authenticate: ask,
        close: () => client.close(0),
        ...spoil(options, ask, client),
      };
    },
  });
  const found = cases.filter(({ name }) => name.startsWith(caseName));
  expect(found).toHaveLength(1);
  try {
    return await found[0]!.run().then(
      () => 'it is right',
      (error: unknown) => (error as Error).message,
    );
  } finally {
    await Promise.all(left.map((client) => client.close()));
  }
}

describe('the suite notices a client that', () => {
  test('is right', async () => {
    expect(await verdict('refused', () => ({}))).toBe('it is right');
  });

  test('takes a failure for an answer', async () => {
    const answer = { ok: true, user: '' };
    const careless = (_options: ClientOptions, ask: Authenticate) => ({
      authenticate: (question: AuthAsk, call: Call) => ask(question, call).catch(() => answer),
    });
    expect(await verdict('refused', careless)).toMatch('expected unreachable, but it was answered');
  });

  test('gives other errors', async () => {
    const failing = () => ({ authenticate: () => Promise.reject(new RangeError('mine')) });
    expect(await verdict('refused', failing)).toBe('refused: mine');
  });

  test('waits for the deadline where nothing is to be waited for', async () => {
    const slow = (_options: ClientOptions, ask: Authenticate) => ({
      authenticate: (question: AuthAsk, call: Call) =>
        ask(question, call).catch(
          (error: unknown) =>
            new Promise<never>((_resolve, reject) => {
              setTimeout(() => reject(error as Error), 150);
            }),
        ),
    });
    expect(await verdict('refused', slow)).toMatch('and not by itself');
  });

  test('gives up before the deadline', async () => {
    const early = (options: ClientOptions): ClientOptions => ({ ...options, timeoutMs: 1 });
    expect(await verdict('ends at the deadline', () => ({}), early)).toMatch('before its deadline of 60 ms');
  });

  test('knows no deadline', async () => {
    const patient = (options: ClientOptions): ClientOptions => ({ ...options, timeoutMs: 60_000 });
    expect(await verdict('ends at the deadline', () => ({}), patient)).toMatch(
      'it did not end within 260 ms',
    );
  });

  test('leaves a listener', async () => {
    const forgetful = (_options: ClientOptions, ask: Authenticate) => ({
      authenticate: (question: AuthAsk, call: Call) => {
        call.signal?.addEventListener('abort', () => {});
        return ask(question, call);
      },
    });
    expect(await verdict('refused', forgetful)).toMatch('a listener was left');
  });

  test('leaves a connection', async () => {
    expect(await verdict('an empty body', () => ({ close: async () => {} }))).toMatch('stays open');
  });

  test('leaves a timer', async () => {
    const timers: NodeJS.Timeout[] = [];
    const ticking = (_options: ClientOptions, _ask: Authenticate, client: AuthClient) => ({
      close: () => {
        timers.push(setTimeout(() => {}, 60_000));
        return client.close();
      },
    });
    expect(await verdict('refused', ticking)).toMatch('timers: 1');
    timers.forEach((timer) => clearTimeout(timer));
  });

  test('sends something else', async () => {
    const wrong = (_options: ClientOptions, ask: Authenticate) => ({
      authenticate: (question: AuthAsk, call: Call) => ask({ ...question, service: 'x' }, call),
    });
    expect(await verdict('authenticate: every field', wrong)).toMatch('what arrived is not what was asked');
  });

  test('sends no token', async () => {
    const shy = (options: ClientOptions): ClientOptions => ({ ...options, token: undefined });
    expect(await verdict('the token is sent', () => ({}), shy)).toMatch('token');
  });
});
