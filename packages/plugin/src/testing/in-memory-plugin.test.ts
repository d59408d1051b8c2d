import { describe, expect, test } from 'vitest';
import { auth } from '../contracts/auth.ts';
import { contracts } from '../contracts/index.ts';
import type { Call, Contract, Methods } from '../contract.ts';
import { echoPlugin } from './echo-plugin.ts';
import { inMemoryPlugin } from './in-memory-plugin.ts';
import { samplesOf } from './samples.ts';

const question = { username: 'u', password: 'p', client: '', service: '', certificate: undefined };

describe.each(['grpc', 'http'] as const)('a plugin in memory, over %s', (transport) => {
  test.each(contracts.map((contract) => [contract.kind, contract] as const))(
    '%s: questions and answers arrive as they are',
    async (_kind, one) => {
      const contract = one as unknown as Contract<Methods>;
      const echo = echoPlugin(contract);
      const plugin = inMemoryPlugin(contract, echo.implementation, { transport });
      const policy = plugin as unknown as Record<string, (ask: unknown, call: Call) => unknown>;
      for (const [name, method] of Object.entries(contract.methods)) {
        for (const { ask, answer } of samplesOf(contract, name)) {
          if (method.known?.(ask as never, transport) !== undefined) continue;
          echo.forget();
          echo.expect(name, ask, answer);
          expect(await policy[name]!(ask, { meta: {} })).toEqual(answer);
          expect(echo.asked).toEqual([{ method: name, ask, transport }]);
        }
      }
      await plugin.close();
    },
  );

  test('carries what lies beside an answer', async () => {
    const plugin = inMemoryPlugin(
      auth,
      {
        authenticate: ({ username }, { meta }) => {
          meta.reason = 'known since long';
          meta.tags = ['a'];
          return { ok: true, user: username };
        },
      },
      { transport },
    );
    const meta = {};
    expect(await plugin.authenticate(question, { meta })).toEqual({ ok: true, user: 'u' });
    expect(meta).toEqual({ reason: 'known since long', tags: ['a'] });
  });

  test('refuses another token', async () => {
    const implementation = { authenticate: () => ({ ok: true, user: '' }) };
    const ask = (token: string) =>
      inMemoryPlugin(auth, implementation, { transport, token, serverToken: 'good' }).authenticate(question, {
        meta: {},
      });
    await expect(ask('bad')).rejects.toMatchObject({ name: 'PluginError', code: 'unauthenticated' });
    expect(await ask('good')).toMatchObject({ ok: true });
  });

  test('ends as a real one: an error of the implementation, the deadline, the caller who leaves', async () => {
    const told: unknown[] = [];
    const signals: AbortSignal[] = [];
    const hung = inMemoryPlugin(
      auth,
      {
        authenticate: (_ask, { signal }) => {
          signals.push(signal);
          return new Promise(() => {});
        },
      },
      { transport, timeoutMs: 20 },
    );
    await expect(hung.authenticate(question, { meta: {} })).rejects.toMatchObject({ code: 'timeout' });
    const controller = new AbortController();
    const left = hung.authenticate(question, { meta: {}, signal: controller.signal });
    controller.abort();
    await expect(left).rejects.toMatchObject({ code: 'canceled' });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);

    const failing = inMemoryPlugin(
      auth,
      {
        authenticate: () => {
          throw new Error('a secret');
        },
      },
      { transport, onImplementationError: (error, method) => told.push(method, error) },
    );
    await expect(failing.authenticate(question, { meta: {} })).rejects.toMatchObject({
      code: 'internal',
      message: expect.not.stringContaining('a secret') as string,
    });
    expect(told).toEqual(['auth.authenticate', new Error('a secret')]);
  });
});
