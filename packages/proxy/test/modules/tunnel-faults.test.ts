// Plugins that fail in every way in which a plugin can, behind ingress, sd and router, at the node that has tunnels and networks.
import { createHash } from 'node:crypto';
import type { PluginTransport, SdService, SetRuleAsk } from '@sallyport/plugin';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { Cleanup } from '../../src/core/peer.fixture.ts';
import { join, joinAs, joins } from '../../src/protocols/router/scene.fixture.ts';
import type { TestSite } from '../../src/protocols/router/scene.fixture.ts';
import { ipPacket } from '../../src/wire/packets.fixture.ts';
import { until } from '../tunnels/scene.ts';
import { conditions, isFine, startConditions } from './conditions.ts';
import type { Condition, Conditions, Started } from './conditions.ts';
import { pageWith } from './faults-page.ts';
import { openGate } from './gate.ts';
import type { Gate } from './gate.ts';
import {
  destinationOf,
  gatewayOf,
  moduleAt,
  places,
  tunnelAnswers,
  tunnelFaultsConfig,
} from './tunnel-faults-config.ts';
import type { Elsewhere, Place } from './tunnel-faults-config.ts';
import { told, toldSite, tunnelFaultsPage } from './tunnel-faults-table.ts';
import type { TunnelResult } from './tunnel-faults-table.ts';
import { ids, routerId } from './tunnel-ids.ts';
import { codeOf, unaskedOf } from './tunnel-faults-log.ts';
import { letIn, registerClient, timed, tunnelWays, visitTunnel, waysIn } from './tunnel-peers.ts';
import type { Registered, TunnelVisited, TunnelWay } from './tunnel-peers.ts';

/** Of every plugin here: long enough for a busy machine to say no in time. */
const deadlineMs = 1000;
/** Beyond the deadline, for a busy machine. */
const slackMs = 3000;
/** What waits is told again after half a second, then after one, two, …, five at most. */
const arrivalMs = 10_000;
/** Rows that run at a time. */
const width = 5;

interface Row {
  readonly id: string;
  readonly place: Place;
  readonly transport: PluginTransport;
  readonly condition: Condition;
  readonly gate: Gate;
  readonly plugin: Started;
}

/** What became of a row: what was seen and how long it took, with the plugin as it is and with it back. */
interface Observed {
  readonly seen: Readonly<Record<string, TunnelVisited>>;
  /** When what began then was well, after the plugin was back. */
  readonly backMs: number;
  /** What did not come in the end. */
  readonly missing: readonly string[];
  /** Who had nothing to do with it. */
  readonly bystanders: Readonly<Record<string, TunnelVisited>>;
}

const transports = ['grpc', 'http'] as const;
const cleanup = new Cleanup();
const rows: Row[] = [];
const observed = new Map<string, Observed>();
const elsewhere: Elsewhere = { tunnel: '', gateway: '' };
let conditioned: Conditions;
let proxy: Proxy;
let log = '';

const idOf = (place: Place, transport: PluginTransport, { id }: Condition) => `${place}-${transport}-${id}`;
const portOf = (address: string) => Number(address.slice(address.lastIndexOf(':') + 1));
/** How long the log was when a row's plugin began to fail. */
const spoiledAt = new Map<string, number>();
const isUnasked = (id: string) => unaskedOf(id, proxy.log(), spoiledAt.get(id)).length > 0;
/** Where a service's entrypoint is: what it said when it was opened. */
const entrypoints = new Map<string, string>();
const entrypointOf = (service: string) => entrypoints.get(service)!;
beforeAll(async () => {
  conditioned = await startConditions(tunnelAnswers(elsewhere));
  cleanup.add(conditioned, (open) => open.close());
  let gates = 0;
  for (const transport of transports) {
    for (const place of places) {
      for (const condition of conditions) {
        const gate = await openGate(`127.78.${String(gates >> 7)}.${String((gates++ & 127) + 1)}`);
        const plugin = await conditioned.start(moduleAt[place], transport, condition);
        cleanup.add(gate, (open) => open.close());
        cleanup.add(plugin, (open) => open.end());
        await gate.lead(plugin.healthyPort);
        rows.push({ id: idOf(place, transport, condition), place, transport, condition, gate, plugin });
      }
    }
  }
  const timeout = `${String(deadlineMs)}ms`;
  proxy = await startSallyport(
    tunnelFaultsConfig(
      rows.map(({ id, place, gate, plugin }) => ({
        ...{ id, place, block: plugin.block(gate.addr, { timeout }) },
      })),
    ),
  );
  cleanup.add(proxy, (open) => open.stop());
  for (const [, service, at] of proxy
    .log()
    .matchAll(/"service":"([^"]+)","msg":"(?:tunnels have|packets of)[^"]* (\S+:\d+)"/g))
    entrypoints.set(service!, at!);
  elsewhere.tunnel = entrypointOf('away-tunnels');
  elsewhere.gateway = entrypointOf('away-routes');
  const away = portOf(proxy.address('away-tunnels'));
  for (const tunnel of [ids.away, ids.here]) await registerClient(cleanup, away, { tunnel });
  const waiting = [...rows];
  const work = async () => {
    for (let row = waiting.shift(); row !== undefined; row = waiting.shift()) {
      const own = new Cleanup();
      try {
        observed.set(row.id, await observers[row.place](row, own));
        if (!isFine(row.condition)) await until(() => isUnasked(row.id), `${row.id} in the log`);
      } catch (cause) {
        throw new Error(`${row.id} came to no end`, { cause });
      } finally {
        await own.run();
      }
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  log = proxy.log();
}, 180_000);
afterAll(() => cleanup.run(), 60_000);

/** From now on the plugin is as the row says. */
async function spoil({ id, gate, plugin, condition }: Row): Promise<void> {
  spoiledAt.set(id, proxy.log().length);
  await gate.lead(condition.id === 'restarted' ? undefined : plugin.port);
  if (condition.id === 'restarted') await gate.lead(plugin.port);
}

/** From now on it is well; answers when something began that was well, too. */
async function heal({ gate, plugin }: Row, isWell: () => Promise<boolean>): Promise<number> {
  await plugin.end();
  await gate.lead(plugin.healthyPort);
  const started = performance.now();
  for (;;) {
    const ms = performance.now() - started;
    if ((await isWell()) || ms > 3000) return ms;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What is not so in the end. */
async function missingOf(wanted: Readonly<Record<string, () => boolean>>): Promise<string[]> {
  const lacking = () => Object.keys(wanted).filter((what) => !wanted[what]!());
  await until(() => lacking().length === 0, 'what was to be told', arrivalMs).catch(() => undefined);
  return lacking();
}

/** Visits of all ways at once. */
async function visitAll(own: Cleanup, id: string, host: string, tunnel: (way: TunnelWay) => string) {
  const ports = { service: portOf(proxy.address(id)), entrypoint: portOf(entrypointOf(id)) };
  const visited = tunnelWays.map(async (way) => {
    return [way, await visitTunnel(own, { way, ports, host, tunnel: tunnel(way) })] as const;
  });
  return Object.fromEntries(await Promise.all(visited)) as Record<TunnelWay, TunnelVisited>;
}

/** Whether a visitor comes in, by HTTP. */
async function comesIn(own: Cleanup, id: string, host: string): Promise<boolean> {
  const { outcome } = await visitTunnel(own, { ...ports(id), way: 'HTTP', host, tunnel: '' });
  return outcome === 'ok';
}

/** What a client came to that registers. */
const registering = ({ ms }: Registered): TunnelVisited => ({ outcome: 'ok', ms });

const observers: Readonly<Record<Place, (row: Row, own: Cleanup) => Promise<Observed>>> = {
  /** Tunnels whose hosts a plugin knows. */
  async rules(row, own) {
    const { id, transport } = row;
    const port = portOf(proxy.address(id));
    await registerClient(own, port, { tunnel: ids.here });
    const visitor = await letIn(own, port, { tunnel: ids.here, host: 'web.test' });
    await spoil(row);
    const other = { ...ports('away-tunnels'), host: 'away.test', tunnel: ids.away };
    const tunnel = (way: TunnelWay) => (way === 'CONNECT' ? ids.here : ids.public);
    const [seen, named, plain, staying, bystander] = await Promise.all([
      visitAll(own, id, 'web.test', tunnel),
      registerClient(own, port, { tunnel: ids.away, host: 'my.test' }),
      registerClient(own, port, { tunnel: ids.public }),
      timed(() => visitor.page()),
      visitTunnel(own, { way: 'HTTP', ...other }),
    ]);
    const backMs = await heal(row, () => comesIn(own, id, 'web.test'));
    const after = await visitAll(own, id, 'web.test', tunnel);
    const isSet = (endpoint: string) => () =>
      conditioned.history(transport).some(([method, ask]) => {
        const rule = ask as SetRuleAsk;
        return method === 'ingress.setRule' && rule.service === id && rule.endpoint === endpoint;
      });
    const missing = await missingOf({
      ...waysIn(after),
      ...{ 'rule of one': isSet(ids.away), 'rule of another': isSet(ids.public) },
    });
    return {
      seen: { ...seen, name: { outcome: named.name, ms: named.ms } },
      bystanders: { registering: registering(plain), staying, elsewhere: bystander },
      ...{ backMs, missing },
    };
  },

  /** Tunnels of which a plugin knows where they are. */
  async nodes(row, own) {
    const { id, transport } = row;
    const port = portOf(proxy.address(id));
    const first = await registerClient(own, port, { tunnel: ids.here });
    const visitor = await letIn(own, port, { tunnel: ids.here, host: 'here.test' });
    const leaving = await registerClient(own, port, { tunnel: ids.here });
    const told = (verb: string, one: Registered, since = 0) =>
      conditioned.history(transport).some(([method, ask], index) => {
        const service = ask as SdService;
        const isWhole =
          service.name !== '' && service.node !== '' && service.network === 'tcp' && service.address !== '';
        return index >= since && method === `sd.${verb}` && service.id === one.id && isWhole;
      });
    await until(() => told('register', first) && told('register', leaving), `${id}: Register`);
    await spoil(row);
    leaving.leave();
    const here = { ports: ports(id).ports, host: 'here.test', tunnel: ids.here };
    const [seen, added, staying, web, relay] = await Promise.all([
      visitAll(own, id, 'away.test', () => ids.away),
      registerClient(own, port, { tunnel: ids.here }),
      timed(() => visitor.page()),
      visitTunnel(own, { way: 'HTTP', ...here }),
      visitTunnel(own, { way: 'CONNECT', ...here }),
    ]);
    const since = conditioned.history(transport).length;
    const backMs = await heal(row, () => comesIn(own, id, 'away.test'));
    const after = await visitAll(own, id, 'away.test', () => ids.away);
    // Over HTTP a status of 200 is all that is looked at, as in GOST: who says it with a page has been told.
    const isTaken = transport === 'http' && row.condition.id === 'page';
    const missing = await missingOf({
      ...waysIn(after),
      Register: () => isTaken || told('register', added),
      Renew: () => told('renew', added, since),
      Deregister: () => isTaken || told('deregister', leaving),
    });
    return {
      ...{ seen, backMs, missing },
      bystanders: { registering: registering(added), staying, web, relay },
    };
  },

  async routes(row, own) {
    const site = await joinAs(own, portOf(proxy.address(row.id)), gatewayOf(destination(row)));
    return packets(row, own, site);
  },

  async gateways(row, own) {
    const away = await joinAs(own, portOf(proxy.address('away-routes')), gatewayOf(destination(row)));
    return packets(row, own, away);
  },

  /** A router whose gateways a plugin knows. */
  async sites(row, own) {
    const port = portOf(proxy.address(row.id));
    const enter = () =>
      timed(async () => {
        const { status, socket } = await join(own, port, joins('site-a'));
        socket.destroy();
        return status === 0 ? 'ok' : `relay ${String(status)}`;
      });
    const a = await joinAs(own, port, 'site-a');
    const b = await joinAs(own, port, gatewayOf(destination(row)));
    await spoil(row);
    const packet = ipPacket('10.1.0.2', destination(row), row.id);
    const [seen, staying] = await Promise.all([
      enter(),
      timed(async () => {
        a.send(packet);
        return (await b.next()).equals(packet) ? 'ok' : 'another packet';
      }),
    ]);
    const backMs = await heal(row, async () => (await enter()).outcome === 'ok');
    return { seen: { site: seen }, bystanders: { staying }, backMs, missing: [] };
  },
};

const destination = (row: Row) => destinationOf(rows.indexOf(row));
const ports = (id: string) => ({
  ports: { service: portOf(proxy.address(id)), entrypoint: portOf(entrypointOf(id)) },
});

/** Packets of a site of the row to a gateway, wherever that has joined. */
async function packets(row: Row, own: Cleanup, b: TestSite): Promise<Observed> {
  const { id, place, transport } = row;
  const port = portOf(proxy.address(id));
  const a = await joinAs(own, port, 'site-a');
  let sent = 0;
  const send = () => {
    const packet = ipPacket('10.1.0.2', destination(row), `${id} ${String(sent++)}`);
    a.send(packet);
    return packet;
  };
  // Read as text: a packet that came says which it was.
  const arrived = () => b.waiting.map((packet) => packet.subarray(20).toString());
  await spoil(row);
  const packet = `${id} ${String(sent)}`;
  const isOver = () => arrived().includes(packet) || isUnasked(id);
  const [seen, joining] = await Promise.all([
    timed(async () => {
      send();
      await until(isOver, `${id}: what became of a packet`);
      return arrived().includes(packet) ? 'ok' : 'dropped';
    }),
    timed(async () => {
      const site = await joinAs(own, port, 'site-c');
      return site.status === 0 ? 'ok' : `relay ${String(site.status)}`;
    }),
  ]);
  const backMs = await heal(row, async () => {
    const text = send().subarray(20).toString();
    const since = performance.now();
    while (!arrived().includes(text)) {
      if (performance.now() - since > 300) return false;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return true;
  });
  const isTold = (name: string) => () =>
    conditioned.history(transport).some(([method, ask]) => {
      const service = ask as SdService;
      const isHere = service.address === entrypointOf(id) && service.network === 'udp';
      return /^sd\.(register|renew)$/.test(method) && service.name === `${name}@${routerId}` && isHere;
    });
  const missing = await missingOf(
    place === 'gateways'
      ? { 'Register of one': isTold('site-a'), 'Register of another': isTold('site-c') }
      : {},
  );
  return { seen: { packet: seen }, bystanders: { joining }, backMs, missing };
}

/** What is seen of a row where the plugin does what it should not. */
const expected: Readonly<Record<Place, Readonly<Record<string, string>>>> = {
  rules: { ...told.ingress, name: createHash('md5').update(ids.away).digest('hex').slice(0, 16) },
  nodes: told.sd,
  routes: { packet: 'dropped' },
  gateways: { packet: 'dropped' },
  sites: { site: toldSite },
};

describe.each(transports)('over %s', (transport) => {
  describe.each(places)('%s', (place) => {
    test.each(conditions.map((condition) => [condition.id, condition] as const))('%s', (_id, condition) => {
      const row = rows.find(({ id }) => id === idOf(place, transport, condition))!;
      const { seen, bystanders, backMs, missing } = observed.get(row.id)!;
      const outcomes = (of: Observed['seen']) =>
        Object.fromEntries(Object.entries(of).map(([what, { outcome }]) => [what, outcome]));
      const fine = Object.fromEntries(
        Object.keys(expected[place]).map((what) => [what, what === 'name' ? 'my.test' : 'ok']),
      );
      expect(outcomes(seen)).toEqual(isFine(condition) ? fine : expected[place]);
      for (const [what, { ms }] of Object.entries(seen))
        expect(ms, `${what} is over within the deadline`).toBeLessThan(deadlineMs + slackMs);
      for (const [what, { outcome, ms }] of Object.entries(bystanders)) {
        expect(outcome, what).toBe('ok');
        expect(ms, what).toBeLessThan(slackMs);
      }
      expect(backMs, 'with the plugin back').toBeLessThan(1000);
      expect(missing, 'told in the end').toEqual([]);
      // What is asked when a plugin is ended that hangs is called otherwise.
      const code = codeOf(row.id, log, spoiledAt.get(row.id));
      if (isFine(condition)) expect(code, 'in the log').toBeUndefined();
      else expect(row.plugin.codes, 'in the log').toContain(code);
    });
  });
});

test('docs/faults.md is what was seen', () => {
  const faulty = rows.filter(({ condition }) => !isFine(condition));
  const results: TunnelResult[] = faulty.flatMap(({ id, place }) => {
    if (place !== 'rules' && place !== 'nodes') return [];
    const module = place === 'rules' ? 'ingress' : 'sd';
    const { seen } = observed.get(id)!;
    return tunnelWays.map((way) => ({ module, way, seen: seen[way]!.outcome }));
  });
  const joining = faulty.flatMap(({ id, place }) =>
    place === 'sites' ? [observed.get(id)!.seen['site']!.outcome] : [],
  );
  const [written, wanted] = pageWith('tunnels', tunnelFaultsPage(results, joining));
  expect(written).toBe(wanted);
});
