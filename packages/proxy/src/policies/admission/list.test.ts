import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { ProxyError } from '../../core/errors.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { listAdmission } from './list.ts';

function ask(policy: PolicyOf<'admission'>, client: string) {
  const events: CallEvent[] = [];
  const call = { meta: {}, session: 's1', observe: (event: CallEvent) => events.push(event) };
  const admitted = policy.admit({ client, service: 'front', network: 'tcp' }, call);
  expect(events).toMatchObject([{ module: 'admission', method: 'admit', session: 's1', transport: 'local' }]);
  return [admitted, events[0]!.reason];
}

const matchers = ['192.0.2.1', '10.0.0.0/8', 'fd00::/8', '203.0.113.1-203.0.113.9'];

describe('the admission whose rules stand in the configuration', () => {
  test.each([
    ['192.0.2.1:5', 'matches 192.0.2.1'],
    ['192.0.2.1', 'matches 192.0.2.1'],
    ['[::ffff:192.0.2.1]:5', 'matches 192.0.2.1'],
    ['10.9.9.9:5', 'matches 10.0.0.0/8'],
    ['[fd00::1]:5', 'matches fd00::/8'],
    ['203.0.113.9:5', 'matches 203.0.113.1-203.0.113.9'],
    ['203.0.113.10:5', undefined],
    ['[::1]:5', undefined],
    ['/run/x.sock', undefined],
    ['', undefined],
  ])('%s: %s', async (client, reason) => {
    const matches = reason !== undefined;
    expect(ask(await listAdmission({ matchers }), client)).toEqual([!matches, reason]);
    const [admitted, said] = ask(await listAdmission({ matchers, whitelist: true }), client);
    expect([admitted, said]).toEqual([matches, reason ?? 'matches no rule of the whitelist']);
  });

  test('without rules a blacklist admits everybody and a whitelist nobody', async () => {
    expect(ask(await listAdmission({}), '192.0.2.1:5')[0]).toBe(true);
    expect(ask(await listAdmission({ whitelist: true }), '192.0.2.1:5')[0]).toBe(false);
  });

  test('a name stands for all of its addresses, and is looked up once', async () => {
    const asked: string[] = [];
    const policy = await listAdmission({
      matchers: [
        'Office.example',
        'office.example',
        ...Array.from({ length: 20 }, (_, n) => `h${String(n)}.example`),
      ],
      resolve: (name) => {
        asked.push(name);
        return Promise.resolve(
          name.startsWith('h') ? [`198.51.100.${name.slice(1, -8)}`] : ['192.0.2.7', '2001:db8::7'],
        );
      },
    });
    expect(asked).toHaveLength(21);
    expect(ask(policy, '192.0.2.7:5')).toEqual([false, 'matches office.example (192.0.2.7)']);
    expect(ask(policy, '[2001:db8::7]:5')).toEqual([false, 'matches office.example (2001:db8::7)']);
    expect(ask(policy, '198.51.100.19:5')[0]).toBe(false);
    expect(ask(policy, '192.0.2.8:5')[0]).toBe(true);
  });

  test('the system knows localhost', async () => {
    expect(ask(await listAdmission({ matchers: ['localhost'], whitelist: true }), '127.0.0.1:5')[0]).toBe(
      true,
    );
  });

  test.each<[string, () => Promise<readonly string[]>, string]>([
    ['that fails', () => Promise.reject(new Error('getaddrinfo ENOTFOUND')), 'ENOTFOUND'],
    ['that has no address', () => Promise.resolve([]), 'does not resolve'],
    ['that never comes', () => new Promise(() => undefined), 'no answer within 20 ms'],
  ])('a look-up %s is an error that names the rule', async (_, resolve, why) => {
    const made = listAdmission({ matchers: ['office.example'], resolve, resolveTimeoutMs: 20 });
    await expect(made).rejects.toMatchObject({ code: 'nameNotFound', at: 'self' });
    await expect(made).rejects.toBeInstanceOf(ProxyError);
    await expect(made).rejects.toThrow(/"office.example"/);
    await expect(made).rejects.toThrow(why);
  });

  test.each(['', '*.example.com', '10.0.0.0/99', '10.0.0.9-10.0.0.1', '1.2.3.4:80', '010.0.0.1', 'a b'])(
    'the rule %j is none',
    async (rule) => {
      await expect(listAdmission({ matchers: [rule] })).rejects.toThrow(TypeError);
    },
  );
});
