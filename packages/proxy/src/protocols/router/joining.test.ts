import { afterEach, describe, expect, test } from 'vitest';
import { createMeter } from '../../core/meter.ts';
import { Cleanup } from '../../core/peer.fixture.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { createTrafficLimits } from '../../core/traffic-limits.ts';
import { relayStatus } from '../../wire/relay.ts';
import {
  anotherId,
  join,
  joins,
  routerId,
  routes,
  routesTo,
  serviceOf,
  toB,
  twoSites,
} from './scene.fixture.ts';
import type { RouterParts } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

describe('who joins', () => {
  const told = async (request: Buffer, parts: RouterParts = {}) => {
    const service = await serviceOf(cleanup, routesTo(routes), parts);
    const { status } = await join(cleanup, service.port, request);
    return { status, service };
  };

  test('must say which network and which gateway, and nothing else', async () => {
    const network = (which: number) => ({ type: 'network', network: which }) as const;
    const tunnel = (id = routerId) => ({ type: 'tunnel', id, flags: 0, weight: 0 }) as const;
    const addr = (host = 'site-a') => ({ type: 'addr', address: { host, port: 0 } }) as const;
    const service = await serviceOf(cleanup, routesTo(routes));
    const status = async (request: Buffer) => (await join(cleanup, service.port, request)).status;
    expect(await status(joins('site-a', { features: [addr(), addr(), tunnel()] }))).toBe(0);
    expect(await status(joins('site-a', { features: [addr(), addr(), tunnel(), network(1)] }))).toBe(0);
    for (const features of [
      [],
      [addr(), addr()],
      [addr(), tunnel()],
      [addr(), addr(), addr(), tunnel()],
      [addr(), addr(), tunnel(), tunnel(anotherId())],
      [addr(), addr(), tunnel(), network(2), network(2)],
      [addr(), addr(), tunnel(), network(0)],
    ]) {
      expect(await status(joins('site-a', { features }))).toBe(relayStatus.badRequest);
    }
    for (const command of [0, 1, 2, 9])
      expect(await status(joins('site-a', { command }))).toBe(relayStatus.badRequest);
    const { error } = await service.event('served', ({ status: said }) => said === 1);
    expect(error).toMatchObject({ code: 'malformedRequest', at: 'client' });
  });

  test('is asked who it is', async () => {
    const authenticate: PolicyOf<'auth'>['authenticate'] = ({ username, password }) => ({
      ok: username === password && username !== '',
      user: `id-${username}`,
    });
    const userAuth = (username: string, password: string) =>
      ({ type: 'userAuth', username, password }) as const;
    const service = await serviceOf(cleanup, routesTo(routes), { auth: { authenticate } });
    const as = (...who: string[]) => {
      const [name = '', password = ''] = who;
      const more = who.length === 0 ? [] : [userAuth(name, password)];
      const addresses = ['x', 'site-a'].map(
        (host) => ({ type: 'addr', address: { host, port: 0 } }) as const,
      );
      const features = [
        ...more,
        ...addresses,
        { type: 'tunnel', id: routerId, flags: 0, weight: 0 } as const,
      ];
      return join(cleanup, service.port, joins('site-a', { features }));
    };
    expect((await as()).status).toBe(relayStatus.unauthorized);
    expect((await as('ada', 'eve')).status).toBe(relayStatus.unauthorized);
    const ada = await as('ada', 'ada');
    expect(ada.status).toBe(0);
    // A second connection of the same user is the same site; of another it is none.
    expect((await as('ada', 'ada')).status).toBe(0);
    expect((await as('bob', 'bob')).status).toBe(relayStatus.forbidden);
  });

  test.each([
    [[`router=${anotherId()}`], relayStatus.forbidden],
    [[`router=${anotherId()}`, `router=${routerId.toUpperCase()}`], 0],
    [['router='], relayStatus.forbidden],
    [['tunnel=x'], 0],
  ])('may join what its tags say: %j', async (tags, status) => {
    const authenticate: PolicyOf<'auth'>['authenticate'] = (_ask, { meta }) => {
      meta.tags = tags;
      return { ok: true, user: 'ada' };
    };
    expect((await told(joins('site-a'), { auth: { authenticate } })).status).toBe(status);
  });

  test.each([
    [routerId, 0],
    [`{${routerId.toUpperCase()}}`, 0],
    [`$${routerId}`, 0],
    [anotherId(), relayStatus.hostUnreachable],
    ['nonsense', relayStatus.hostUnreachable],
    [undefined, relayStatus.hostUnreachable],
  ])('must be a gateway of the router by a rule: %s', async (endpoint, status) => {
    const asked: unknown[] = [];
    const getRule: PolicyOf<'ingress'>['getRule'] = (ask) => {
      asked.push(ask);
      return endpoint;
    };
    const setRule = () => true;
    const parts = { metadata: { ingress: 'rules' }, modules: { ingress: { rules: { getRule, setRule } } } };
    expect((await told(joins('site-a'), parts)).status).toBe(status);
    expect(asked).toEqual([{ host: 'site-a', service: 'test' }]);
  });

  test('an ingress that cannot be asked lets nobody in', async () => {
    const rules: PolicyOf<'ingress'> = {
      getRule: () => {
        throw new Error('no answer');
      },
      setRule: () => true,
    };
    const parts = { metadata: { ingress: 'rules' }, modules: { ingress: { rules } } };
    const { status, service } = await told(joins('site-a'), parts);
    expect(status).toBe(relayStatus.serviceUnavailable);
    expect((await service.event('served')).error).toMatchObject({ code: 'couldNotAsk' });
  });

  test('counts as its gateway, for limits and counters', async () => {
    const asked: unknown[] = [];
    const limits = createTrafficLimits({
      service: 'test',
      meter: createMeter(),
      handlerLimiter: {
        limit: (ask) => {
          asked.push(ask);
          return [];
        },
      },
      problem: (error) => {
        throw error;
      },
    });
    const { service, a } = await twoSites(cleanup, routesTo(routes), { limits });
    const client = `127.0.0.1:${String(a.socket.localPort)}`;
    expect(asked).toContainEqual({
      ...{ service: 'test', scope: 'client', network: 'ip', target: '' },
      ...{ user: `site-a@${routerId}`, client },
    });
    a.send(toB('counted'));
    a.socket.end();
    const user = `site-a@${routerId}`;
    expect(await service.event('served', (event) => event.user === user)).toMatchObject({
      what: `ASSOCIATE ${user}`,
      status: 0,
      error: undefined,
    });
    const closed = await service.event('closed', (event) => event.user === user);
    expect(closed.traffic.received).toBe(joins('site-a').length + 2 + toB('counted').length);
    limits.close();
  });

  test('too often, is refused', async () => {
    const { status } = await told(joins('site-a'), { rate: { allow: () => false } });
    expect(status).toBe(relayStatus.forbidden);
  });
});
