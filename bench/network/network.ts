/** A virtual network of two hosts and a router, all ours or all GOST's: what a GiB of TCP through it costs, and how long a packet takes. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNetwork, missingNamespaces } from '../../interop/netns/netns.ts';
import type { Host, Network } from '../../interop/netns/netns.ts';
import {
  missingDevices,
  netOf,
  nodeOf,
  ping,
  siteOf,
  sites,
  startOurs,
  startPlugin,
} from '../../interop/netns/virtual-network.ts';
import { cpuMicros, median, othersCpuMicros } from '../plugin-calls/programs.ts';
import type { BenchOptions } from '../run.ts';

const gost = join(import.meta.dirname, '../../interop/gost/bin/gost');

/** Who all three programs are. GOST asks its router for each packet unless it is told to remember. */
type Kind = 'sallyport' | 'gost' | 'gost, router.cache';

type Sample = Readonly<Record<string, number>>;

/** The programs of one network, by what they do. */
interface Running {
  readonly network: Network;
  readonly pids: readonly number[];
}

/** The measure `network`. It needs Linux, the right to make namespaces and devices, and for GOST `interop/install.sh`. */
export async function measureNetwork({ rounds, duration }: BenchOptions): Promise<object> {
  const missing = (await missingNamespaces()) ?? missingDevices;
  if (missing !== undefined) throw new Error(missing);
  const kinds: Kind[] = ['sallyport'];
  if (existsSync(gost)) kinds.push('gost', 'gost, router.cache');
  else console.log('GOST is not built (interop/install.sh builds it), and left out');
  const seconds = Number(/^(\d+)s$/.exec(duration)?.[1] ?? 2);
  const samples = new Map<Kind, Sample[]>(kinds.map((kind) => [kind, []]));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < kinds.length; turn++) {
      // Each round begins with another one, so that none always follows the same.
      const kind = kinds[(turn + round) % kinds.length]!;
      process.stdout.write(`\rround ${String(round + 1)}/${String(rounds)}, ${kind}`.padEnd(50));
      samples.get(kind)!.push(await measure(kind, seconds));
    }
  }
  const rows = kinds.map((kind) => ({ network: kind, ...medians(samples.get(kind)!) }));
  console.log();
  console.table(rows);
  const [ours, ...others] = rows as (Sample & { readonly network: Kind })[];
  const ratios = others.map((other) => ({
    against: other.network,
    mbitPerSecond: ours!['mbitPerSecond']! / other['mbitPerSecond']!,
    cpuSecondsPerGib: ours!['cpuSecondsPerGib']! / other['cpuSecondsPerGib']!,
  }));
  console.table(ratios);
  return { rounds, duration, rows, ratios };
}

async function measure(kind: Kind, seconds: number): Promise<Sample> {
  const home = mkdtempSync(join(tmpdir(), 'bench-network-'));
  const { network, pids } = await start(kind, home);
  try {
    const [from, to] = [network.host('ada'), network.host('bob')];
    // Found, and compiled.
    await transfer(from, to, 1);
    const all = () => pids.reduce((sum, pid) => sum + cpuMicros(pid), 0);
    const others = () => othersCpuMicros(pids[0]!) - all() + cpuMicros(pids[0]!);
    const [cpuBefore, othersBefore, started] = [all(), others(), performance.now()];
    const bytes = await transfer(from, to, seconds);
    const took = performance.now() - started;
    const cpu = all() - cpuBefore;
    const othersShare = (others() - othersBefore) / (took * 1000 * availableParallelism());
    return {
      mbitPerSecond: (bytes * 8) / seconds / 1e6,
      cpuSecondsPerGib: cpu / 1e6 / (bytes / 2 ** 30),
      roundTripMs: await roundTrip(from),
      othersShare,
    };
  } finally {
    await network.close();
    rmSync(home, { recursive: true });
  }
}

async function start(kind: Kind, home: string): Promise<Running> {
  const router = randomUUID();
  const network = await createNetwork('plugin', 'node', 'ada', 'bob');
  try {
    await startPlugin(network.host('plugin'), router);
    const node = nodeOf(network.host('node'), network.host('plugin')) as {
      services: { handler: { metadata: Record<string, unknown> } }[];
    };
    node.services[0]!.handler.metadata['router.cache'] = kind !== 'gost';
    const pids: number[] = [];
    const run = async (host: Host, config: object, ready: RegExp) => {
      const program =
        kind === 'sallyport'
          ? startOurs(host, config)
          : host.start(gost, ['-C', '-'], { input: JSON.stringify(config), env: { HOME: home }, cwd: home });
      await program.line(kind === 'sallyport' ? ready : /^ready /);
      pids.push(program.process.pid!);
    };
    await run(network.host('node'), node, /router listening on/);
    for (const name of ['ada', 'bob'] as const) {
      const site = siteOf(name, network.host('node'), { router, net: netOf(name) });
      await run(network.host(name), site, /has joined the network/);
    }
    for (let attempt = 0; attempt < 10; attempt++)
      if (await ping(network.host('ada'), sites.bob.own)) return { network, pids };
    throw new Error(`${kind}: ada does not reach bob`);
  } catch (error) {
    await network.close();
    throw error;
  }
}

/** Sends by TCP for so long, and answers how many bytes came within that time. */
async function transfer(from: Host, to: Host, seconds: number): Promise<number> {
  const address = sites.bob.own;
  const sink = `require('net').createServer((socket) => { let bytes = 0; const end = setTimeout(() => socket.end(String(bytes)), ${String(seconds * 1000)});
    socket.on('data', (data) => (bytes += data.length)).on('error', () => {}).on('close', () => clearTimeout(end)); }).listen(7000, '${address}', () => console.log('ready'))`;
  const source = `const socket = require('net').connect(7000, '${address}'); const chunk = Buffer.alloc(1 << 18, 7); let answer = '';
    const go = () => { while (!socket.destroyed && socket.write(chunk)); }; socket.on('connect', go).on('drain', go).on('error', () => {});
    socket.on('data', (data) => (answer += data)).on('end', () => { console.log(answer); process.exit(); })`;
  const server = to.start(process.execPath, ['-e', sink]);
  await server.line(/ready/);
  const { stdout } = await from.run(process.execPath, ['-e', source], (seconds + 20) * 1000);
  await server.stop();
  return Number(stdout);
}

/** The median of a hundred pings, one after the other. */
async function roundTrip(from: Host): Promise<number> {
  const { stdout } = await from.run('ping', ['-i', '0.01', '-c', '100', sites.bob.own], 30_000);
  return median([...stdout.matchAll(/time=([\d.]+) ms/g)].map(([, ms]) => Number(ms)));
}

function medians(samples: readonly Sample[]): Sample {
  const keys = Object.keys(samples[0] ?? {});
  return Object.fromEntries(keys.map((key) => [key, round(median(samples.map((one) => one[key]!)))]));
}

const round = (value: number) => Number(value.toPrecision(4));
