import { PluginError } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { Decisions } from './decisions.ts';
import { ProxyError } from './errors.ts';
import type { Decided } from './events.ts';
import { resolveName, systemAddress } from './names.ts';
import type { Names } from './names.ts';

function scene(names: Omit<Names, 'user' | 'decider'>) {
  const decided: Decided[] = [];
  const decider = new Decisions({ session: 's', publish: (event) => decided.push(event) });
  return {
    decided,
    resolve: (host: string, port = 53) => resolveName({ host, port }, { ...names, user: 'u', decider }),
  };
}

describe('what a name stands for', () => {
  test('is what hosts say, and the resolver is not asked', async () => {
    const asks: unknown[] = [];
    const lookup = (ask: unknown) => {
      asks.push(ask);
      return ['::ffff:192.0.2.1', '192.0.2.2'];
    };
    const { resolve, decided } = scene({
      hosts: { lookup },
      resolver: { resolve: () => Promise.reject(new Error('not asked')) },
    });
    expect(await resolve('a.test')).toEqual({ host: '192.0.2.1', port: 53 });
    expect(asks).toEqual([{ network: 'ip', host: 'a.test', user: 'u' }]);
    expect(decided).toMatchObject([
      { module: 'hosts', about: 'a.test', answer: '::ffff:192.0.2.1, 192.0.2.2' },
    ]);
  });

  test('hosts are asked about addresses, a resolver is not, and neither about a path', async () => {
    const asked: string[] = [];
    const { resolve } = scene({
      hosts: {
        lookup({ host }) {
          asked.push(host);
          return [];
        },
      },
      resolver: {
        resolve({ host }) {
          asked.push(`resolver ${host}`);
          return ['2001:db8::1'];
        },
      },
    });
    expect(await resolve('192.0.2.7')).toEqual({ host: '192.0.2.7', port: 53 });
    expect(await resolve('/run/x.sock', 0)).toEqual({ host: '/run/x.sock', port: 0 });
    expect(await resolve('b.test')).toEqual({ host: '2001:db8::1', port: 53 });
    expect(asked).toEqual(['192.0.2.7', 'b.test', 'resolver b.test']);
  });

  test('a resolver that knows none is no reason to ask somebody else', async () => {
    const { resolve, decided } = scene({ resolver: { resolve: () => [] } });
    await expect(resolve('a.test')).rejects.toMatchObject({ code: 'nameNotFound', status: 503 });
    expect(decided).toMatchObject([{ module: 'resolver', outcome: 'no', answer: 'no address' }]);
  });

  test.each(['hosts', 'resolver'])('%s that cannot be asked refuse', async (module) => {
    const silent = () => Promise.reject(new PluginError('timeout', 'too slow'));
    const { resolve } = scene(
      module === 'hosts' ? { hosts: { lookup: silent } } : { resolver: { resolve: silent } },
    );
    await expect(resolve('a.test')).rejects.toMatchObject({ code: 'couldNotAsk', status: 503 });
  });

  test('an answer that is no address is not dialled', async () => {
    const { resolve } = scene({ hosts: { lookup: () => ['0x7f000001'] } });
    await expect(resolve('a.test')).rejects.toMatchObject({ code: 'malformedRequest' });
  });
});

describe('what the system knows', () => {
  const nothing = () => undefined;
  const refused = new ProxyError('forbidden', 'client', 'no');

  test('is asked about names alone', async () => {
    expect(await systemAddress({ host: '192.0.2.1', port: 1 }, () => refused)).toEqual({
      host: '192.0.2.1',
      port: 1,
    });
    expect((await systemAddress({ host: 'localhost', port: 1 }, nothing)).host).toMatch(
      /^(127\.0\.0\.1|::1)$/,
    );
  });

  test('goes nowhere that a rule refuses', async () => {
    await expect(systemAddress({ host: 'localhost', port: 1 }, () => refused)).rejects.toBe(refused);
  });

  test('says so where there is no such name', async () => {
    await expect(systemAddress({ host: 'nobody.invalid', port: 1 }, nothing)).rejects.toMatchObject({
      code: 'nameNotFound',
      at: 'upstream',
    });
  });
});
