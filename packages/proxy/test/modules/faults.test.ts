// Plugins that fail in every way in which a plugin can, behind every module, through the real binary.
import type { PluginTransport } from '@sallyport/plugin';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { startNode, startOrigin } from '../../../../interop/gost/traffic.ts';
import { conditions, startConditions } from './conditions.ts';
import type { Condition, Conditions, Started } from './conditions.ts';
import { faultModules, faultsPage, faultWays } from './faults-table.ts';
import type { FaultModule, FaultResult, FaultWay } from './faults-table.ts';
import { pageWith } from './faults-page.ts';
import { openGate } from './gate.ts';
import type { Gate } from './gate.ts';
import { answers, credentials } from './modules-config.ts';
import type { Asked } from './plugins.ts';
import { handlerOf, visit } from './visits.ts';
import type { Visit } from './visits.ts';

/** Of every plugin here. */
const deadlineMs = 1000;
/** Beyond the deadline, for a busy machine. */
const slackMs = 3000;
/** What waits is told after a second, then after two, four, …; a plugin that hung for so long is known to be back by then. */
const arrivalMs = 8000;
/** Rows that run at a time. */
const width = 8;

/** One module, whose plugin is asked over one transport, and what is wrong with it. */
interface Row {
  readonly id: string;
  readonly module: FaultModule;
  readonly transport: PluginTransport;
  readonly condition: Condition;
  readonly gate: Gate;
  readonly plugin: Started;
}

/** What became of it. */
interface Observed {
  readonly visits: Readonly<Partial<Record<FaultWay, Visit>>>;
  readonly bystander: Visit;
  /** The services whose record or event arrived. */
  readonly arrived: readonly FaultWay[];
  /** After the plugin was back. */
  readonly back: Readonly<Partial<Record<FaultWay, { readonly outcome: string; readonly ms: number }>>>;
}

const transports = ['grpc', 'http'] as const;
let conditioned: Conditions;
const rows: Row[] = [];
const observed = new Map<string, Observed>();
let proxy: Proxy;
/** What the proxy has printed, once all has been seen. */
let log: readonly string[] = [];
let originPort = 0;
const closing: (() => unknown)[] = [];

const waysOf = ({ seen }: FaultModule) => faultWays.filter((way) => seen[way] !== undefined);
const idOf = (module: FaultModule, transport: PluginTransport, { id }: Condition) =>
  `${module.name.replaceAll(' ', '_')}-${transport}-${id}`;

beforeAll(async () => {
  const origin = await startOrigin();
  closing.push(() => origin.close());
  originPort = origin.port;
  const node = await startNode();
  closing.push(() => node.close());
  conditioned = await startConditions(answers(() => node.address));
  closing.push(() => conditioned.close());
  let gates = 0;
  for (const transport of transports) {
    for (const module of faultModules) {
      for (const condition of conditions) {
        const gate = await openGate(`127.77.${String(gates >> 7)}.${String((gates++ & 127) + 1)}`);
        const plugin = await conditioned.start(module.kind, transport, condition);
        await gate.lead(plugin.port);
        closing.push(() => gate.close(), plugin.end);
        rows.push({ id: idOf(module, transport, condition), module, transport, condition, gate, plugin });
      }
    }
  }
  proxy = await startSallyport(configOf(node.address));
  closing.push(() => proxy.stop());
  // A program that has just started is slower than it is a moment later.
  const wish = { target: `127.0.0.1:${String(originPort)}`, credentials };
  for (let i = 0; i < 10; i++)
    for (const transport of transports) await visit('CONNECT', proxy.address(`bystander-${transport}`), wish);
  const waiting = [...rows];
  const work = async () => {
    for (let row = waiting.shift(); row !== undefined; row = waiting.shift()) {
      observed.set(row.id, await observe(row));
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  log = proxy.log().split('\n');
}, 120_000);
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

function configOf(node: string) {
  const sections: Record<string, object[]> = {};
  const services: { name: string; [key: string]: unknown }[] = [];
  for (const { id, module, gate, plugin } of rows) {
    const block = plugin.block(gate.addr, { timeout: `${String(deadlineMs)}ms` });
    const { sections: own, service, handler, node: more } = module.place(block, id);
    for (const [key, entries] of Object.entries(own)) {
      const written = JSON.parse(
        JSON.stringify(entries).replaceAll('"NODE"', JSON.stringify(node)),
      ) as object[];
      (sections[key] ??= []).push(...written);
    }
    for (const way of waysOf(module)) {
      services.push({
        name: `${id}-${way}`,
        addr: '127.0.0.1:0',
        handler: { type: handlerOf[way], ...handler },
        ...(way === 'tcp' && {
          forwarder: { nodes: [{ name: 'origin', addr: `127.0.0.1:${String(originPort)}`, ...more }] },
        }),
        ...service,
      });
    }
  }
  for (const transport of transports) {
    const name = `bystander-${transport}`;
    const plugin = {
      ...conditioned.healthy[transport].block('auth'),
      timeout: `${String(deadlineMs + slackMs)}ms`,
    };
    (sections['authers'] ??= []).push({ name, plugin });
    services.push({ name, addr: '127.0.0.1:0', handler: { type: 'http', auther: name } });
  }
  return { services, ...sections };
}

async function observe({ id, module, transport, condition, gate, plugin }: Row): Promise<Observed> {
  const ways = waysOf(module);
  const wish = {
    target: `${module.host ?? '127.0.0.1'}:${String(originPort)}`,
    credentials: module.kind === 'auth' ? credentials : undefined,
    timeoutMs: 10_000,
    ...(module.body !== undefined && { body: module.body }),
  };
  const go = (way: FaultWay) => visit(way, proxy.address(`${id}-${way}`), wish);
  const all = async <T>(run: (way: FaultWay) => Promise<T>) =>
    Object.fromEntries(await Promise.all(ways.map(async (way) => [way, await run(way)] as const))) as Partial<
      Record<FaultWay, T>
    >;
  if (condition.id === 'restarted') {
    await all(go);
    await gate.lead(undefined);
    await gate.lead(plugin.healthyPort);
  }
  const [visits, bystander] = await Promise.all([
    all(go),
    visit('CONNECT', proxy.address(`bystander-${transport}`), {
      ...wish,
      target: `127.0.0.1:${String(originPort)}`,
      credentials,
    }),
  ]);
  await plugin.end();
  await gate.lead(plugin.healthyPort);
  const started = performance.now();
  const back = await all(async (way) => {
    for (;;) {
      // When it was begun: how long it takes is the machine's affair.
      const ms = performance.now() - started;
      const { outcome } = await go(way);
      if (outcome === 'ok' || ms > 3000) return { outcome, ms };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  const { arrives } = module;
  const arrived: FaultWay[] = [];
  for (const until = performance.now() + arrivalMs; arrives !== undefined;) {
    for (const way of ways) {
      const is = (asked: Asked) => arrives(asked, `${id}-${way}`);
      if (!arrived.includes(way) && conditioned.history(transport).some(is)) arrived.push(way);
    }
    if (arrived.length === ways.length || performance.now() > until) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { visits, bystander, back, arrived };
}

/** What the log calls the first of a service's questions that had no answer; undefined: there was none. */
function codeOf({ id }: Row, way: FaultWay): string | undefined {
  const line = log.find(
    (one) => one.includes(`"service":"${id}-${way}"`) && one.includes('"decision":"couldNotAsk"'),
  );
  return line === undefined ? undefined : (/ ms, (\w+)\)/.exec(line)?.[1] ?? line);
}

/** Nobody waits for their answers, so that no decision is in the log. */
const quiet: readonly string[] = ['limiter', 'recorder', 'observer'];

describe.each(transports)('over %s', (transport) => {
  describe.each(faultModules.map((module) => [module.name, module] as const))('%s', (_name, module) => {
    test.each(conditions.map((condition) => [condition.id, condition] as const))('%s', (_id, condition) => {
      const { visits, bystander, back, arrived } = observed.get(idOf(module, transport, condition))!;
      const fine = condition.id === 'slow' || condition.id === 'restarted';
      for (const way of waysOf(module)) {
        expect(visits[way]!.outcome, way).toBe(fine ? 'ok' : module.seen[way]);
        expect(visits[way]!.ms, `${way} is over within the deadline`).toBeLessThan(deadlineMs + slackMs);
        expect(back[way]!.outcome, `${way}, with the plugin back`).toBe('ok');
        expect(back[way]!.ms, `${way}, with the plugin back`).toBeLessThan(1000);
      }
      if (module.arrives !== undefined)
        expect(arrived, 'told in the end').toEqual(expect.arrayContaining(waysOf(module)));
      expect(bystander).toMatchObject({ outcome: 'ok' });
      expect(bystander.ms, 'a bystander').toBeLessThan(slackMs);
      const row = rows.find(({ id }) => id === idOf(module, transport, condition))!;
      for (const way of waysOf(module)) {
        const code = codeOf(row, way);
        if (fine || quiet.includes(module.kind)) expect(code, `${way}, in the log`).toBeUndefined();
        else expect(row.plugin.codes, `${way}, in the log`).toContain(code);
      }
    });
  });
});

test('a limiter that cannot be asked is one warning a service, whatever comes', () => {
  for (const { id, module, condition } of rows) {
    if (module.kind !== 'limiter' || condition.id === 'slow' || condition.id === 'restarted') continue;
    for (const way of waysOf(module)) {
      const warnings = log.filter(
        (line) => line.includes(`"service":"${id}-${way}"`) && /limits of the service/.test(line),
      );
      expect(warnings, `${id}-${way}`).toHaveLength(1);
    }
  }
});

test('docs/faults.md is what was seen', () => {
  const results: FaultResult[] = rows.flatMap((row) => {
    const { id, module, transport, condition, plugin } = row;
    if (condition.id === 'slow' || condition.id === 'restarted') return [];
    return waysOf(module).map((way) => ({
      ...{ module: module.name, fault: condition.id, transport, way, codes: plugin.codes },
      seen: observed.get(id)!.visits[way]!.outcome,
    }));
  });
  const [written, seen] = pageWith('modules', faultsPage(results));
  expect(written).toBe(seen);
});
