import type { SdService } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { formatAddress } from '../../core/address.ts';
import type { Address } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { ManualClock } from '../../core/manual-clock.fixture.ts';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import type { MemoryEnd } from '../../core/memory-conn.fixture.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Decider } from '../../core/route.ts';
import type { Way } from '../../core/way.ts';
import { createNodes } from './nodes.ts';
import type { NodesOptions } from './nodes.ts';
import type { Visit } from './tunnels.ts';

const tunnel = '11111111-1111-4111-8111-111111111111';
const here = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
const there = (n: number) => `bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbb${String(n)}`;
const address: Address = { host: '192.0.2.9', port: 1 };
const visit: Visit = { network: 'tcp', source: address, target: { host: 'web.test', port: 80 } };

const decider: Decider = { decide: async ({ ask }) => ask({ meta: {} }) };

function scene({
  services = [],
  get,
  ...more
}: Partial<NodesOptions> & {
  readonly services?: readonly SdService[];
  readonly get?: () => Promise<readonly SdService[]>;
} = {}) {
  const clock = new ManualClock();
  let asked = 0;
  const dialled: string[] = [];
  const ends: MemoryEnd[] = [];
  const dead = new Set<string>();
  const sd: PolicyOf<'sd'> = {
    register: () => undefined,
    renew: () => undefined,
    deregister: () => undefined,
    get: () => {
      asked++;
      return get?.() ?? services;
    },
  };
  const direct: Way = {
    dial(to) {
      const text = formatAddress(to);
      dialled.push(text);
      if (dead.has(text)) return Promise.reject(new ProxyError('dialFailed', 'upstream', `${text} is dead`));
      const [end, conn] = memoryConnPair();
      ends.push(end);
      return Promise.resolve(conn);
    },
    close: () => Promise.resolve(),
  };
  const own = () => ({ host: '10.0.0.1', port: 8080 });
  const nodes = createNodes({
    ...{ node: here, sd, direct, own, now: () => clock.nowMs, random: () => 0 },
    ...more,
  });
  const leaving = new AbortController();
  const connect = (wanted: Partial<Visit> = {}, id = tunnel) =>
    nodes.connect(id, { ...visit, ...wanted }, { signal: leaving.signal }, decider);
  return { connect, clock, dialled, dead, ends, leaving, asked: () => asked };
}

const service = (n: number, more: Partial<SdService> = {}): SdService => ({
  ...{ id: `c${String(n)}`, name: tunnel, node: there(n), network: 'tcp', address: `10.0.0.${String(n)}:80` },
  ...more,
});

test('another node gets the request first, and then what the visitor says', async () => {
  const { connect, ends } = scene({ services: [service(2)] });
  const { end, where, path } = await connect({ request: Buffer.from('request') });
  expect({ where, path, kind: end.kind }).toEqual({
    ...{ where: 'elsewhere', path: [`${there(2)}@10.0.0.2:80`], kind: 'stream' },
  });
  expect((await ends[0]!.read())?.toString()).toBe('request');
});

test('the visits are spread over all that sd names', async () => {
  let at = 0;
  const { connect, dialled } = scene({
    services: [service(2), service(2, { id: 'again' }), service(3), service(4)],
    random: () => at,
  });
  for (at of [0, 0.34, 0.67, 0.99]) await connect();
  expect(dialled).toEqual(['10.0.0.2:80', '10.0.0.3:80', '10.0.0.4:80', '10.0.0.4:80']);
});

test('a node that cannot be reached is passed over, and then tried last', async () => {
  const { connect, dialled, dead, clock } = scene({ services: [service(2), service(3)] });
  dead.add('10.0.0.2:80');
  await connect();
  await connect();
  expect(dialled).toEqual(['10.0.0.2:80', '10.0.0.3:80', '10.0.0.3:80']);
  clock.advance(15_000);
  dead.clear();
  await connect();
  expect(dialled.at(-1)).toBe('10.0.0.2:80');
  dead.add('10.0.0.2:80').add('10.0.0.3:80');
  await expect(connect()).rejects.toMatchObject({ code: 'dialFailed', message: '10.0.0.3:80 is dead' });
});

test('where all that is remembered are gone, sd is asked once more, and none is tried twice', async () => {
  const services = [service(2), service(3)];
  const { connect, dialled, dead, asked } = scene({ get: () => Promise.resolve([...services]) });
  await connect();
  dead.add('10.0.0.2:80').add('10.0.0.3:80');
  // Their clients have found another one.
  services.push(service(4));
  const { path } = await connect();
  expect(path).toEqual([`${there(4)}@10.0.0.4:80`]);
  expect(dialled).toEqual(['10.0.0.2:80', '10.0.0.2:80', '10.0.0.3:80', '10.0.0.4:80']);
  expect(asked()).toBe(2);
  dead.add('10.0.0.4:80');
  await expect(connect()).rejects.toMatchObject({ code: 'dialFailed' });
  expect(dialled).toHaveLength(7);
  expect(asked()).toBe(3);
});

test('what leads nowhere, to us, or is of the other network is none', async () => {
  const services = [
    service(2, { node: here }),
    service(3, { network: 'udp' }),
    // What GOST's renewals say.
    service(4, { network: '', address: '' }),
    service(5, { address: '' }),
    service(6, { address: ':8080' }),
    service(7, { address: 'nonsense' }),
    // A process before us had our address.
    service(8, { address: '10.0.0.1:8080' }),
  ];
  const { connect, dialled } = scene({ services });
  await expect(connect()).rejects.toMatchObject({
    ...{ code: 'noRoute', status: 502, message: `tunnel not available: ${tunnel} has no connector` },
  });
  await connect({ network: 'udp' });
  expect(dialled).toEqual(['10.0.0.3:80']);
});

describe('what sd answered', () => {
  test('counts for a second, also that there is nothing', async () => {
    for (const services of [[], [service(2)]]) {
      const { connect, asked, clock } = scene({ services });
      const ask = () => connect().catch((error: unknown) => ProxyError.from(error).code);
      await ask();
      await ask();
      expect(asked()).toBe(1);
      clock.advance(1000);
      await ask();
      expect(asked()).toBe(2);
    }
  });

  test('of so many tunnels, and no more', async () => {
    const { connect, asked } = scene({ services: [service(2)] });
    for (let n = 0; n <= 10_000; n++) await connect({}, `t${String(n)}`);
    await connect({}, 't10000');
    expect(asked()).toBe(10_001);
    await connect({}, 't0');
    expect(asked()).toBe(10_002);
  });

  test('a question that failed does not', async () => {
    let fails = true;
    const { connect } = scene({
      get: () =>
        fails
          ? Promise.reject(new ProxyError('couldNotAsk', 'plugin', 'away'))
          : Promise.resolve([service(2)]),
    });
    await expect(connect()).rejects.toMatchObject({ code: 'couldNotAsk' });
    fails = false;
    await connect();
  });
});

test('who leaves is not served by the next node', async () => {
  const { connect, dialled, dead, leaving } = scene({ services: [service(2), service(3)] });
  dead.add('10.0.0.2:80');
  leaving.abort();
  await expect(connect()).rejects.toMatchObject({ code: 'clientClosed' });
  expect(dialled).toEqual([]);
});

test('visits that run in a circle end', async () => {
  const { connect, ends } = scene({ services: [service(2)] });
  const visits = [];
  for (let n = 0; n < 1024; n++) visits.push(await connect());
  await expect(connect()).rejects.toMatchObject({ code: 'loop', status: 503 });
  // Another tunnel has nothing to do with it.
  await connect({}, 'another');
  const [answered, closed] = visits;
  if (answered?.end.kind !== 'stream' || closed?.end.kind !== 'stream') throw new Error('no stream');
  await ends[0]!.write(Buffer.from('x'));
  await answered.end.read();
  await connect();
  await expect(connect()).rejects.toMatchObject({ code: 'loop' });
  closed.end.reset();
  await closed.end.closed;
  await connect();
});
