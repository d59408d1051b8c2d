/** The proxy beside a real GOST: what a connection, a GiB and an idle connection cost it. */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { cpuMicros, median, othersCpuMicros, runClient } from '../plugin-calls/programs.ts';
import type { BenchOptions } from '../run.ts';
import { freePort, preparePrograms, startPeers, startProxy } from './programs.ts';
import type { PeerPorts, Peers, Programs } from './programs.ts';

interface Case {
  readonly what: string;
  readonly protocol: 'tcp' | 'connect' | 'socks5';
  readonly mode: 'connect' | 'bulk' | 'idle';
  readonly connections: number;
  readonly plugins: readonly Plugin[];
  /** True: the plugins take 1 ms to answer. */
  readonly isLate?: boolean;
  /** True: those at once are one client with one user, so that questions about it can be shared. Default false. */
  readonly isOneClient?: boolean;
  /** What ours divided by GOST's should be, by the name of the figure. */
  readonly goals: Readonly<Record<string, number>>;
}

type Plugin = 'admission' | 'auther' | 'bypass' | 'resolver';

type Sample = Readonly<Record<string, number>>;

const all: readonly Plugin[] = ['admission', 'auther', 'bypass', 'resolver'];
const connecting = { mode: 'connect', connections: 32, plugins: [] } as const;

/** Goals: at least so many times GOST's rate, at most so much of its CPU time and memory. */
const cases: readonly Case[] = [
  { what: 'TCP', protocol: 'tcp', ...connecting, goals: { perSecond: 1.5, cpuMicros: 0.6 } },
  { what: 'CONNECT', protocol: 'connect', ...connecting, goals: { perSecond: 1.4, cpuMicros: 0.6 } },
  { what: 'SOCKS5', protocol: 'socks5', ...connecting, goals: { perSecond: 1.5, cpuMicros: 0.6 } },
  {
    what: 'CONNECT, gRPC auther',
    protocol: 'connect',
    ...connecting,
    plugins: ['auther'],
    goals: {},
  },
  {
    what: 'CONNECT, 4 gRPC plugins',
    protocol: 'connect',
    ...connecting,
    plugins: all,
    goals: { perSecond: 2.5, cpuMicros: 0.4 },
  },
  {
    what: 'CONNECT, 4 gRPC plugins, one client',
    protocol: 'connect',
    ...connecting,
    plugins: all,
    isOneClient: true,
    goals: {},
  },
  {
    what: 'TCP, gRPC admission that takes 1 ms',
    protocol: 'tcp',
    ...connecting,
    plugins: ['admission'],
    isLate: true,
    goals: { perSecond: 10 },
  },
  ...[1, 16].map((connections): Case => ({
    what: `CONNECT, bytes over ${String(connections)}`,
    protocol: 'connect',
    mode: 'bulk',
    connections,
    plugins: [],
    goals: { gibPerSecond: 1.7, cpuSecondsPerGib: 0.4 },
  })),
  {
    what: 'CONNECT, 2,000 idle',
    protocol: 'connect',
    mode: 'idle',
    connections: 2000,
    plugins: [],
    goals: { kibPerConnection: 0.1 },
  },
];

/** The measure `proxy`. `BENCH_ONLY` keeps the cases whose name matches this pattern. */
export async function measureProxy({ rounds, duration }: BenchOptions): Promise<object> {
  const chosen = cases.filter(({ what }) => new RegExp(process.env['BENCH_ONLY'] ?? '').test(what));
  const programs = preparePrograms();
  // The bare forwarder knows neither handshakes nor plugins.
  const competitors = chosen.map(({ protocol, plugins }) =>
    Object.keys(programs.proxies).filter(
      (name) => name !== 'bare node:net' || (protocol === 'tcp' && plugins.length === 0),
    ),
  );
  const samples = competitors.map((names) => names.map(() => [] as Sample[]));
  const peers = await startPeers(programs.peers);
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [index, one] of chosen.entries()) {
        const names = competitors[index]!;
        for (let turn = 0; turn < names.length; turn++) {
          // Each round begins with another one, so that none always follows the same.
          const competitor = (turn + round) % names.length;
          process.stdout.write(`\rround ${String(round + 1)}/${String(rounds)}, ${one.what}`.padEnd(70));
          const sample = await measure(programs, peers, names[competitor]!, one, duration);
          samples[index]![competitor]!.push(sample);
        }
      }
    }
  } finally {
    await peers.stop();
    programs.close();
  }
  const rows = chosen.flatMap(({ what }, index) =>
    competitors[index]!.map((proxy, competitor) => ({
      what,
      proxy,
      ...medians(samples[index]![competitor]!),
    })),
  );
  console.log();
  console.table(rows);
  const ratios = chosen.flatMap((one, index) => compare(one, competitors[index]!, samples[index]!));
  console.table(ratios);
  return { versions: programs.versions, rounds, duration, rows, ratios };
}

async function measure(
  { proxies, load, folder }: Programs,
  peers: Peers,
  name: string,
  one: Case,
  duration: string,
): Promise<Sample> {
  const port = await freePort();
  const file = join(folder, 'proxy.json');
  writeFileSync(file, JSON.stringify(configOf(one, port, peers.ports)));
  const proxy = await startProxy(proxies[name]!, file, port);
  try {
    await peers.calls();
    const others = () => othersCpuMicros(proxy.pid) - cpuMicros(peers.pid);
    const othersBefore = others();
    const started = performance.now();
    const to = one.mode === 'bulk' ? peers.ports.sink : peers.ports.echo;
    const figures = await runClient<Record<string, number>>(load, [
      ...['-mode', one.mode, '-protocol', one.protocol, '-proxy', `127.0.0.1:${String(port)}`],
      ...['-target', `${one.plugins.includes('resolver') ? 'target.test' : '127.0.0.1'}:${String(to)}`],
      ...(one.plugins.includes('auther') ? ['-user', 'gost:secret'] : []),
      ...(one.mode === 'connect' && one.isOneClient !== true ? ['-distinct'] : []),
      ...['-pid', String(proxy.pid), '-connections', String(one.connections), '-duration', duration],
    ]);
    const machineMicros = (performance.now() - started) * 1000 * availableParallelism();
    const othersShare = (others() - othersBefore) / machineMicros;
    const calls = Object.values(await peers.calls()).reduce((sum, count) => sum + count, 0);
    const { connections = 0, failures = 0, alive = one.connections, ...rest } = figures;
    if (failures > 0) throw new Error(`${name}, ${one.what}: ${String(failures)} connections failed`);
    if (alive < one.connections) throw new Error(`${name}, ${one.what}: only ${String(alive)} are alive`);
    return { ...rest, ...(one.plugins.length > 0 && { callsEach: calls / connections }), othersShare };
  } finally {
    await proxy.stop();
  }
}

/** The same for every proxy, in GOST's keys. */
function configOf({ protocol, plugins, isLate = false, mode }: Case, port: number, ports: PeerPorts): object {
  const addr = `127.0.0.1:${String(isLate ? ports.late : ports.plugins)}`;
  const module = (kind: Plugin) =>
    plugins.includes(kind) ? [{ name: kind, plugin: { type: 'grpc', addr } }] : undefined;
  const named = (kind: Plugin) => (plugins.includes(kind) ? kind : undefined);
  const to = `127.0.0.1:${String(mode === 'bulk' ? ports.sink : ports.echo)}`;
  const service = {
    name: 'measured',
    addr: `127.0.0.1:${String(port)}`,
    admission: named('admission'),
    bypass: named('bypass'),
    resolver: named('resolver'),
    listener: { type: 'tcp' },
    handler: { type: { tcp: 'tcp', connect: 'http', socks5: 'socks5' }[protocol], auther: named('auther') },
    ...(protocol === 'tcp' && { forwarder: { nodes: [{ name: 'target', addr: to }] } }),
  };
  return {
    // At the level that is the default.
    log: { output: '/dev/null', format: 'json' },
    services: [service],
    admissions: module('admission'),
    authers: module('auther'),
    bypasses: module('bypass'),
    // GOST keeps what a resolver plugin answers no more than we do.
    resolvers: module('resolver'),
  };
}

function medians(samples: readonly Sample[]): Record<string, number> {
  const keys = Object.keys(samples[0] ?? {});
  return Object.fromEntries(
    keys.map((key) => [key, Number(median(samples.map((sample) => sample[key]!)).toPrecision(4))]),
  );
}

/** Ours to the others', median by median, beside the goal where there is one. */
function compare({ what, goals }: Case, names: readonly string[], samples: readonly Sample[][]): object[] {
  const [ours = {}, ...others] = samples.map(medians);
  const isMore = (key: string) => key.endsWith('PerSecond') || key === 'perSecond';
  return others.flatMap((theirs, index) =>
    Object.keys(ours)
      .filter((key) => !['othersShare', 'beforeMib', 'idleCpuShare', 'callsEach'].includes(key))
      .map((key) => {
        const ratio = Number((ours[key]! / theirs[key]!).toFixed(3));
        const goal = names[index + 1] === 'gost' ? goals[key] : undefined;
        return {
          what,
          figure: key,
          to: names[index + 1],
          ratio,
          ...(goal !== undefined && { goal, reached: isMore(key) ? ratio >= goal : ratio <= goal }),
        };
      }),
  );
}
