/** Two proxies with a mux between them, beside two GOSTs and beside one of each: what a GiB through one stream and through sixteen costs. */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { cpuMicros, median, othersCpuMicros, runClient } from '../plugin-calls/programs.ts';
import type { Command } from '../plugin-calls/programs.ts';
import { freePort, preparePrograms, startPeers, startProxy } from '../proxy/programs.ts';
import type { PeerPorts, Peers, Programs } from '../proxy/programs.ts';
import type { BenchOptions } from '../run.ts';

interface Case {
  readonly what: string;
  readonly dialer: 'mtcp' | 'mtls' | 'mws';
  /** Of both ends; without it each row has its default, which is GOST's: smux version 2 for mtcp, 1 for the others. */
  readonly mux?: Readonly<Record<string, string>>;
  readonly streams: number;
  readonly direction: 'up' | 'down';
}

/** The proxy that listens for the load, and the one that dials the target. */
type Pair = readonly [client: string, server: string];

type Sample = Readonly<Record<string, number>>;

/** The CPU of both proxies together, ours divided by GOST's: what is reached for, at most. */
const goalCpu = 0.8;

const carriers: readonly Pick<Case, 'what' | 'dialer' | 'mux'>[] = [
  { what: 'mtcp, smux 2', dialer: 'mtcp' },
  { what: 'mtcp, yamux', dialer: 'mtcp', mux: { 'mux.type': 'yamux' } },
  { what: 'mws, smux 1', dialer: 'mws' },
  { what: 'mtls, smux 1', dialer: 'mtls' },
];

const cases: readonly Case[] = carriers.flatMap((carrier) =>
  [1, 16].flatMap((streams) =>
    (['up', 'down'] as const).map((direction): Case => ({
      ...carrier,
      what: `${carrier.what}, ${String(streams)} ${direction}`,
      streams,
      direction,
    })),
  ),
);

/** The measure `mux`. `BENCH_ONLY` keeps the cases whose name matches this pattern. */
export async function measureMux({ rounds, duration }: BenchOptions): Promise<object> {
  const chosen = cases.filter(({ what }) => new RegExp(process.env['BENCH_ONLY'] ?? '').test(what));
  const programs = preparePrograms();
  const pairs = chosen.map((one) => pairsOf(one, programs));
  const samples = pairs.map((those) => those.map(() => [] as Sample[]));
  const peers = await startPeers(programs.peers);
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [index, one] of chosen.entries()) {
        const those = pairs[index]!;
        for (let turn = 0; turn < those.length; turn++) {
          // Each round begins with another one, so that none always follows the same.
          const pair = (turn + round) % those.length;
          process.stdout.write(`\rround ${String(round + 1)}/${String(rounds)}, ${one.what}`.padEnd(70));
          samples[index]![pair]!.push(await measure(programs, peers, those[pair]!, one, duration));
        }
      }
    }
  } finally {
    await peers.stop();
    programs.close();
  }
  const rows = chosen.flatMap(({ what }, index) =>
    pairs[index]!.map((pair, number) => ({
      what,
      pair: nameOf(pair),
      ...medians(samples[index]![number]!),
    })),
  );
  console.log();
  console.table(rows);
  const ratios = chosen.flatMap((one, index) => compare(one, pairs[index]!, samples[index]!));
  console.table(ratios);
  return { versions: programs.versions, rounds, duration, rows, ratios };
}

/** Ours, then the others; one of each only where it is the plain row, as it tells the same of every row. */
function pairsOf({ what }: Case, { proxies }: Programs): Pair[] {
  const pairs: Pair[] = [['sallyport', 'sallyport']];
  if ('before' in proxies) pairs.push(['before', 'before']);
  if ('gost' in proxies) {
    pairs.push(['gost', 'gost']);
    if (what.startsWith('mtcp, smux')) pairs.push(['sallyport', 'gost'], ['gost', 'sallyport']);
  }
  return pairs;
}

const nameOf = ([client, server]: Pair) => `${client} → ${server}`;

async function measure(
  { proxies, load, folder }: Programs,
  peers: Peers,
  [client, server]: Pair,
  one: Case,
  duration: string,
): Promise<Sample> {
  const start = async (name: string, configOf: (port: number) => object) => {
    const port = await freePort();
    const file = join(folder, `${String(port)}.json`);
    writeFileSync(file, JSON.stringify({ log: { output: '/dev/null', format: 'json' }, ...configOf(port) }));
    return { ...(await startProxy(proxies[name]!, file, port)), port };
  };
  const behind = await start(server, (port) => serverConfig(one, port));
  try {
    const front = await start(client, (port) => clientConfig(one, port, behind.port, peers.ports));
    try {
      const others = () => othersCpuMicros(front.pid) - cpuMicros(behind.pid) - cpuMicros(peers.pid);
      const othersBefore = others();
      const started = performance.now();
      const figures = await runLoad(load, one, front.port, [front.pid, behind.pid], duration);
      const machineMicros = (performance.now() - started) * 1000 * availableParallelism();
      return { ...figures, othersShare: (others() - othersBefore) / machineMicros };
    } finally {
      await front.stop();
    }
  } finally {
    await behind.stop();
  }
}

function runLoad(
  load: Command,
  { streams, direction }: Case,
  port: number,
  [front, behind]: readonly [number, number],
  duration: string,
): Promise<Record<string, number>> {
  return runClient(load, [
    ...['-mode', direction === 'up' ? 'bulk' : 'bulk-down', '-proxy', `127.0.0.1:${String(port)}`],
    ...['-pid', String(front), '-second', String(behind)],
    ...['-connections', String(streams), '-duration', duration],
  ]);
}

function serverConfig({ dialer, mux }: Case, port: number): object {
  return {
    services: [
      {
        name: 'server',
        addr: `127.0.0.1:${String(port)}`,
        listener: { type: dialer, metadata: mux },
        handler: { type: 'relay' },
      },
    ],
  };
}

function clientConfig({ dialer, mux, direction }: Case, port: number, server: number, ports: PeerPorts) {
  const to = `127.0.0.1:${String(direction === 'up' ? ports.sink : ports.source)}`;
  const node = {
    name: 'node',
    addr: `127.0.0.1:${String(server)}`,
    connector: { type: 'relay' },
    // The server makes its certificate itself.
    dialer: { type: dialer, metadata: mux, ...(dialer === 'mtls' && { tls: { secure: false } }) },
  };
  return {
    services: [
      {
        name: 'client',
        addr: `127.0.0.1:${String(port)}`,
        listener: { type: 'tcp' },
        handler: { type: 'tcp', chain: 'chain' },
        forwarder: { nodes: [{ name: 'target', addr: to }] },
      },
    ],
    chains: [{ name: 'chain', hops: [{ name: 'hop', nodes: [node] }] }],
  };
}

function medians(samples: readonly Sample[]): Record<string, number> {
  const keys = Object.keys(samples[0] ?? {});
  return Object.fromEntries(
    keys.map((key) => [key, Number(median(samples.map((sample) => sample[key]!)).toPrecision(4))]),
  );
}

/** Ours to the other pairs of one kind, median by median, with the goal where there is one. */
function compare({ what }: Case, pairs: readonly Pair[], samples: readonly Sample[][]): object[] {
  const ours = medians(samples[0]!);
  return pairs.slice(1).flatMap((pair, index) => {
    if (pair[0] !== pair[1]) return [];
    const theirs = medians(samples[index + 1]!);
    return ['gibPerSecond', 'cpuSecondsPerGib'].map((figure) => {
      const ratio = Number((ours[figure]! / theirs[figure]!).toFixed(3));
      const hasGoal = pair[0] === 'gost' && figure === 'cpuSecondsPerGib';
      return {
        what,
        figure,
        to: nameOf(pair),
        ratio,
        ...(hasGoal && { goal: goalCpu, reached: ratio <= goalCpu }),
      };
    });
  });
}
