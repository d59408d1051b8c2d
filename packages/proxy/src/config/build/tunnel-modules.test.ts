// ingresses, routers and sds as a file has them: built in, over gRPC and over HTTP, each through the group that a handler asks.
import { contractByKind, implement, servePlugins } from '@sallyport/plugin';
import type { CallEvent, PluginServer, SdService } from '@sallyport/plugin';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '../../log/log.ts';
import { formatFindings } from '../../schema/report.ts';
import { loadConfig } from '../load.ts';
import { createPolicies } from './policies.ts';
import type { Policies } from './policies.ts';

const uuid = 'd3b07384-d9a0-4c9e-8f1b-2f6a1f3c9f10';
const service = { id: 'c1', name: 'tunnel', node: 'n1', network: 'tcp', address: '10.0.0.1:80' };
const silent = createLog('fatal', true, { write: () => undefined });

let plugins: PluginServer;
const asked: unknown[][] = [];
const services = new Map<string, SdService>();
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  asked.length = 0;
  services.clear();
  plugins = await servePlugins(
    [
      implement(contractByKind.ingress, {
        getRule(ask) {
          asked.push(['getRule', ask]);
          return ask.host.startsWith('known') ? `$${uuid}` : undefined;
        },
        setRule(ask) {
          asked.push(['setRule', ask]);
          return true;
        },
      }),
      implement(contractByKind.router, {
        getRoute(ask) {
          asked.push(['getRoute', ask]);
          return ask.router === '' ? undefined : { network: '10.0.0.0/8', gateway: 'site' };
        },
      }),
      implement(contractByKind.sd, {
        register: (one) => void services.set(one.id, one),
        renew: (one) => void services.set(one.id, one),
        deregister: (one) => void services.delete(one.id),
        get: ({ name }) => [...services.values()].filter((one) => one.name === name),
      }),
    ],
    { port: 0 },
  );
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await plugins.close(0);
});

async function build(config: object): Promise<Policies> {
  const services = [{ name: 'front', addr: '127.0.0.1:0', handler: { type: 'http' } }];
  const { config: read, report, tls } = await loadConfig([JSON.stringify({ services, ...config })]);
  expect(formatFindings(report.errors)).toEqual([]);
  const none = () => () => Promise.reject(new Error('no chain is dialled here'));
  const policies = await createPolicies({ config: read!, tls, log: silent, dialThrough: none });
  closing.push(() => policies.close());
  return policies;
}

function watched() {
  const events: CallEvent[] = [];
  return { events, call: { meta: {}, observe: (event: CallEvent) => events.push(event) } };
}

describe.each([
  ['grpc', () => plugins.addr],
  ['http', () => `http://${plugins.addr}`],
])('plugins over %s', (type, addr) => {
  const plugin = (path: string, more: object = {}) => ({
    plugin: { type, addr: type === 'http' ? `${addr()}/${path}` : addr(), ...more },
  });

  test('an ingress, a router and a service discovery are asked with all fields', async () => {
    const policies = await build({
      ingresses: [{ name: 'i', ...plugin('ingress') }],
      routers: [{ name: 'r', ...plugin('router') }],
      sds: [{ name: 's', ...plugin('sd') }],
    });
    const { call, events } = watched();
    const ingress = policies.group('ingress', ['i'])!;
    expect(await ingress.getRule({ host: 'known.test:80', service: 'front' }, call)).toBe(`$${uuid}`);
    expect(await ingress.getRule({ host: 'other.test:80', service: 'front' }, call)).toBeUndefined();
    const rule = { host: 'h', endpoint: uuid, service: 'front' };
    expect(await ingress.setRule(rule, call)).toBe(true);
    const router = policies.group('router', ['r'])!;
    expect(await router.getRoute({ destination: '10.1.1.1', router: uuid }, call)).toEqual({
      network: '10.0.0.0/8',
      gateway: 'site',
    });
    expect(await router.getRoute({ destination: '10.1.1.1', router: '' }, call)).toBeUndefined();
    expect(asked).toEqual([
      ['getRule', { host: 'known.test:80', service: 'front' }],
      ['getRule', { host: 'other.test:80', service: 'front' }],
      ['setRule', rule],
      ['getRoute', { destination: '10.1.1.1', router: uuid }],
      ['getRoute', { destination: '10.1.1.1', router: '' }],
    ]);
    const sd = policies.group('sd', ['s'])!;
    await sd.register(service, call);
    expect(await sd.get({ name: 'tunnel' }, call)).toEqual([service]);
    await sd.renew({ ...service, address: '10.0.0.2:80' }, call);
    expect(await sd.get({ name: 'tunnel' }, call)).toEqual([{ ...service, address: '10.0.0.2:80' }]);
    await sd.deregister(service, call);
    expect(await sd.get({ name: 'tunnel' }, call)).toEqual([]);
    expect(new Set(events.map(({ name }) => name))).toEqual(new Set(['i', 'r', 's']));
  });

  test('`cache` and `onError` of the block count; by default there is no route, and changes are told later', async () => {
    const policies = await build({
      ingresses: [
        { name: 'cached', ...plugin('ingress', { cache: { ttl: '1m' } }) },
        { name: 'last', ...plugin('ingress', { onError: 'lastGood' }) },
        { name: 'refusing', ...plugin('ingress', { onError: 'refuse' }) },
        { name: 'replying', ...plugin('ingress', { onError: { reply: { endpoint: uuid } } }) },
        { name: 'plain', ...plugin('ingress') },
      ],
      sds: [{ name: 's', ...plugin('sd') }],
      routers: [{ name: 'r', ...plugin('router') }],
    });
    const names = ['cached', 'last', 'refusing', 'replying', 'plain'];
    // A group is made once: it remembers what was last answered.
    const groups = new Map(names.map((name) => [name, policies.group('ingress', [name])!]));
    const ask = (name: string) =>
      Promise.resolve(groups.get(name)!.getRule({ host: 'known', service: '' }, watched().call));
    expect([await ask('cached'), await ask('cached')]).toEqual([`$${uuid}`, `$${uuid}`]);
    expect(asked).toHaveLength(1);
    await ask('last');
    await plugins.close(0);
    expect(await ask('cached')).toBe(`$${uuid}`);
    expect(await ask('last')).toBe(`$${uuid}`);
    expect(await ask('replying')).toBe(uuid);
    await expect(ask('refusing')).rejects.toMatchObject({ code: 'unreachable' });
    expect(await ask('plain')).toBeUndefined();
    const { call, events } = watched();
    const sd = policies.group('sd', ['s'])!;
    expect(await sd.get({ name: 'tunnel' }, call)).toEqual([]);
    expect(events.at(-1)).toMatchObject({ source: 'fallback', outcome: 'unreachable', name: 's' });
    await expect(Promise.resolve(sd.renew(service, call))).rejects.toMatchObject({ code: 'unreachable' });
    const router = policies.group('router', ['r'])!;
    expect(await router.getRoute({ destination: '10.0.0.1', router: uuid }, call)).toBeUndefined();
  });
});

test('built-ins answer from the file, under their names', async () => {
  const policies = await build({
    ingresses: [{ name: 'i', rules: [{ hostname: '*.a.test', endpoint: `$${uuid}` }] }],
    routers: [{ name: 'r', routes: [{ net: '10.0.0.0/8', gateway: 'site' }] }],
  });
  const { call, events } = watched();
  expect(await policies.group('ingress', ['i'])!.getRule({ host: 'x.a.test:1', service: '' }, call)).toBe(
    `$${uuid}`,
  );
  expect(
    await policies.group('router', ['r'])!.getRoute({ destination: '10.0.0.1', router: '' }, call),
  ).toEqual({ network: '10.0.0.0/8', gateway: 'site' });
  expect(events).toMatchObject([
    { module: 'ingress', name: 'i', transport: 'local', reason: 'matches .a.test' },
    { module: 'router', name: 'r', transport: 'local', reason: 'matches 10.0.0.0/8' },
  ]);
  expect(policies.group('ingress', ['nobody'])).toBeUndefined();
});

test('a Redis that is not there is no route, and changes are told later; closing ends it', async () => {
  const policies = await build({ sds: [{ name: 's', redis: { addr: '127.0.0.1:1' } }] });
  const sd = policies.group('sd', ['s'])!;
  const { call, events } = watched();
  expect(await sd.get({ name: 'tunnel' }, call)).toEqual([]);
  expect(events).toMatchObject([
    { module: 'sd', name: 's', outcome: 'unreachable', endpoint: 'redis://127.0.0.1:1/0', source: 'live' },
    { module: 'sd', name: 's', outcome: 'unreachable', source: 'fallback' },
  ]);
  await expect(Promise.resolve(sd.register(service, call))).rejects.toMatchObject({ code: 'unreachable' });
  await policies.close();
  await expect(Promise.resolve(sd.get({ name: 'tunnel' }, call))).rejects.toMatchObject({
    code: 'canceled',
  });
});
