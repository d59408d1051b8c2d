/** A server with many tunnels and many visitors: what each costs, how soon visitors are answered, and what is left of them. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildGost, freePort } from '../proxy/programs.ts';
import type { BenchOptions } from '../run.ts';
import { startProxy, startVisitors } from './processes.ts';
import type { Holding, Proxy, Visitors, Visits } from './processes.ts';

/** A tenth of all, for a look: `BENCH_SCALE=0.1`. */
const scale = Number(process.env['BENCH_SCALE'] ?? 1);
const tunnelCount = Math.round(1000 * scale);
const visitorCount = Math.round(10_000 * scale);
const seconds = 60 * scale;

/** Tunnels are spread over so many clients' processes. */
const clientCount = 4;
const perClient = Math.ceil(tunnelCount / clientCount);

/** One visitor of so many stays. */
const stays = 5;

/** How long something may take to be gone. */
const settleMs = 20_000;

/** A server remembers whose a tunnel was for 15 s (`tunnel.ttl`); so long after that nothing is left to remember. */
const forgottenMs = 20_000;

/** What the server, and all clients together, hold at one moment. */
interface Moment {
  readonly server: Holding;
  readonly clients: Holding;
}

/**
 * The measure `tunnels`. It is one run a proxy, about two minutes each; rounds and duration mean nothing to it. `BENCH_ONLY` keeps
 * the proxies whose name matches this pattern.
 */
export async function measureTunnels(_options: BenchOptions): Promise<object> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
  const visitors = await startVisitors(folder);
  try {
    const gost = buildGost(folder);
    const competitors = new Map([
      ['sallyport', undefined],
      ...(gost ? [['gost', gost.program] as const] : []),
    ]);
    const rows = [];
    for (const [name, program] of competitors)
      if (new RegExp(process.env['BENCH_ONLY'] ?? '').test(name))
        rows.push(await measure(name, program, folder, visitors));
    for (const { proxy, visits, again, costs, server } of rows) {
      console.log(`\n${proxy}`);
      console.log('visits', visits, 'again', again);
      console.table(costs);
      console.table(server);
    }
    return {
      versions: { node: process.version, ...(gost && { 'go-gost/x': gost.version }) },
      ...{ tunnels: tunnelCount, visitors: visitorCount, seconds },
      rows,
    };
  } finally {
    await visitors.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(name: string, program: string | undefined, folder: string, visitors: Visitors) {
  console.log(
    `${name}: ${String(tunnelCount)} tunnels, ${String(visitorCount)} visitors in ${String(seconds)} s`,
  );
  const ids = Array.from({ length: tunnelCount }, () => randomUUID());
  const port = await freePort();
  const entrypoint = `127.0.0.1:${String(await freePort())}`;
  const start = (file: string, config: object) => {
    const path = join(folder, `${file}.json`);
    writeFileSync(path, JSON.stringify({ log: { output: '/dev/null', format: 'json' }, ...config }));
    return startProxy(path, program);
  };
  const clients: Proxy[] = [];
  const connect = async (from: number, to: number) => {
    clients.push(start(`client-${String(from)}`, clientConfig(ids, from, to, port, visitors.port)));
    must(await visitors.order('each', from, to, entrypoint), to - from);
  };
  const disconnect = async () => {
    for (const client of clients.splice(0)) await client.stop();
  };
  const server = start('server', serverConfig(ids, port, entrypoint));
  const now = async (): Promise<Moment> => ({
    server: await server.holding(),
    clients: sum(await Promise.all(clients.map((client) => client.holding()))),
  });
  try {
    // What is loaded and grows with the first tunnel and its visitors is not the others'.
    await connect(0, 1);
    must(await visitors.order('come', 500, 1, 2, stays, entrypoint), 500);
    await visitors.order('leave');
    const oneTunnel = (await now()).clients;
    await disconnect();
    const atFirst = await settled(server, 0);

    for (let from = 0; from < tunnelCount; from += perClient)
      await connect(from, Math.min(from + perClient, tunnelCount));
    await settled(server, tunnelCount);
    const withTunnels = await now();

    const cpuBefore = [server.cpuSeconds(), cpuOf(clients)] as const;
    const visits = await visitors.order('come', visitorCount, tunnelCount, seconds, stays, entrypoint);
    const cpuAfter = [server.cpuSeconds(), cpuOf(clients)] as const;
    must(visits, visitorCount);
    const open = visits.open!;
    await settled(server, tunnelCount + open);
    const withVisitors = await now();
    const again = await visitors.order('again');
    must(again, open);

    await visitors.order('leave');
    await settled(server, tunnelCount);
    const visitorsGone = await now();

    const idle = times(oneTunnel, clients.length);
    await disconnect();
    await settled(server, 0);
    await delay(forgottenMs);
    const allGone = await server.holding();

    const requests = visitorCount + (visits.whileStaying?.answered ?? 0);
    const cpuMicros = ([0, 1] as const).map((who) => ((cpuAfter[who] - cpuBefore[who]) * 1e6) / requests);
    return {
      proxy: name,
      visits,
      again,
      costs: [
        { of: 'tunnel', at: 'server', ...cost(withTunnels.server, atFirst, tunnelCount) },
        { of: 'tunnel', at: 'client', ...cost(withTunnels.clients, idle, tunnelCount - clientCount) },
        { of: 'open visitor', at: 'server', ...cost(withVisitors.server, withTunnels.server, open) },
        { of: 'open visitor', at: 'client', ...cost(withVisitors.clients, withTunnels.clients, open) },
        { of: 'request', at: 'server', cpuMicros: rounded(cpuMicros[0]!) },
        { of: 'request', at: 'client', cpuMicros: rounded(cpuMicros[1]!) },
      ],
      server: [
        { when: 'after a first tunnel', ...shown(atFirst) },
        { when: 'with all tunnels', ...shown(withTunnels.server) },
        { when: 'and the visitors who stay', ...shown(withVisitors.server) },
        { when: 'these have left', ...shown(visitorsGone.server) },
        { when: 'the tunnels as well, 20 s ago', ...shown(allGone) },
      ],
    };
  } finally {
    await disconnect();
    await server.stop();
  }
}

/** Everybody was answered, or the figures mean nothing. */
function must({ answered, failures, firstFailure, whileStaying }: Visits, expected: number): void {
  if (failures > 0 || answered !== expected)
    throw new Error(`${String(answered)} of ${String(expected)} were answered: ${firstFailure ?? ''}`);
  if (whileStaying !== undefined) must(whileStaying, whileStaying.answered);
}

/** Waits until the server has this many connections. Rejects where it has still others after a while: something was left. */
async function settled(server: Proxy, connections: number): Promise<Holding> {
  const until = performance.now() + settleMs;
  for (;;) {
    const held = await server.holding();
    if (held.connections === connections) return held;
    if (performance.now() > until)
      throw new Error(
        `the server has ${String(held.connections)} connections where ${String(connections)} are due`,
      );
    await delay(100);
  }
}

function cpuOf(proxies: readonly Proxy[]): number {
  return proxies.reduce((sum, proxy) => sum + proxy.cpuSeconds(), 0);
}

function sum(all: readonly Holding[]): Holding {
  return {
    residentMib: all.reduce((mib, one) => mib + one.residentMib, 0),
    ...(all.every((one) => one.heapMib !== undefined) && {
      heapMib: all.reduce((mib, one) => mib + one.heapMib!, 0),
    }),
    descriptors: all.reduce((count, one) => count + one.descriptors, 0),
    connections: all.reduce((count, one) => count + one.connections, 0),
  };
}

function times(one: Holding, count: number): Holding {
  return sum(Array.from({ length: count }, () => one));
}

/** What each of so many has added, in KiB. */
function cost(after: Holding, before: Holding, count: number): object {
  const kib = (now: number, then: number) => rounded(((now - then) * 1024) / count);
  return {
    residentKib: kib(after.residentMib, before.residentMib),
    ...(after.heapMib !== undefined && { heapKib: kib(after.heapMib, before.heapMib!) }),
  };
}

function shown(held: Holding): Holding {
  return {
    ...held,
    residentMib: rounded(held.residentMib),
    ...(held.heapMib !== undefined && { heapMib: rounded(held.heapMib) }),
  };
}

function rounded(value: number): number {
  return Number(value.toFixed(1));
}

const hostOf = (tunnel: number) => `t${String(tunnel)}.test`;

function serverConfig(ids: readonly string[], port: number, entrypoint: string): object {
  return {
    services: [
      {
        name: 'server',
        addr: `127.0.0.1:${String(port)}`,
        listener: { type: 'tcp' },
        handler: {
          type: 'tunnel',
          metadata: { entrypoint, ingress: 'names', 'entrypoint.keepalive': true },
        },
      },
    ],
    ingresses: [
      {
        name: 'names',
        rules: ids.map((id, tunnel) => ({ hostname: hostOf(tunnel), endpoint: id })),
      },
    ],
  };
}

function clientConfig(ids: readonly string[], from: number, to: number, port: number, origin: number) {
  const tunnels = ids.slice(from, to).map((id, index) => ({ id, number: from + index }));
  return {
    services: tunnels.map(({ number }) => ({
      name: `t${String(number)}`,
      addr: ':0',
      listener: { type: 'rtcp', chain: `c${String(number)}` },
      handler: { type: 'rtcp' },
      forwarder: {
        // Each has an address of its own, by which the visitors know it.
        nodes: [
          { name: 'web', addr: `127.2.${String(number >> 8)}.${String(number & 255)}:${String(origin)}` },
        ],
      },
    })),
    chains: tunnels.map(({ id, number }) => ({
      name: `c${String(number)}`,
      hops: [
        {
          name: `h${String(number)}`,
          nodes: [
            {
              name: 'server',
              addr: `127.0.0.1:${String(port)}`,
              connector: { type: 'tunnel', metadata: { 'tunnel.id': id } },
              dialer: { type: 'tcp' },
            },
          ],
        },
      ],
    })),
  };
}
