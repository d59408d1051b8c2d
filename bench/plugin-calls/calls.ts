/** One plugin call over and over: what it costs the client and the server, and how long it takes. */
import { availableParallelism } from 'node:os';
import type { BenchOptions } from '../run.ts';
import { cpuMicros, median, othersCpuMicros, preparePrograms, runClient, startServer } from './programs.ts';
import type { RunningServer } from './programs.ts';

interface Figures {
  readonly calls: number;
  readonly failures: number;
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicrosPerCall: number;
}

interface Sample extends Figures {
  readonly serverCpuMicrosPerCall: number;
  /** How much of the machine other programs took meanwhile, from 0 to 1: above 0.15 a sample is disturbed. */
  readonly othersShare: number;
}

interface Case {
  readonly transport: 'grpc' | 'http';
  readonly client: string;
  readonly server: string;
  readonly concurrency: number;
}

const concurrencies = [1, 16, 128];

/** Every client on grpc-go's server and on ours; our client on every server; HTTP against Go's server. */
function listCases(clients: readonly string[], servers: readonly string[]): Case[] {
  const cases: Case[] = [];
  for (const concurrency of concurrencies) {
    for (const server of ['go', 'sallyport', 'grpc-js'].filter((name) => servers.includes(name)))
      for (const client of clients)
        if (server !== 'grpc-js' || client === 'sallyport')
          cases.push({ transport: 'grpc', client, server, concurrency });
    for (const server of ['go', 'sallyport'].filter((name) => servers.includes(name)))
      for (const client of clients.filter((name) => name !== 'grpc-js'))
        cases.push({ transport: 'http', client, server, concurrency });
  }
  return cases;
}

/** The measure `plugin-calls`. */
export async function measurePluginCalls({ rounds, duration }: BenchOptions): Promise<object> {
  const programs = preparePrograms();
  const cases = listCases(Object.keys(programs.clients), Object.keys(programs.servers));
  const samples = cases.map(() => [] as Sample[]);
  try {
    for (let round = 0; round < rounds; round++) {
      const servers: Record<string, RunningServer> = {};
      for (const [name, command] of Object.entries(programs.servers))
        servers[name] = await startServer(command);
      // Each round begins elsewhere, so that no competitor always follows the same one.
      for (let turn = 0; turn < cases.length; turn++) {
        const index = (turn + round * 5) % cases.length;
        const { transport, client, server, concurrency } = cases[index]!;
        const { pid, ports } = servers[server]!;
        const args = ['--transport', transport, '--port', String(ports[transport])];
        const before = cpuMicros(pid);
        const othersBefore = othersCpuMicros(pid);
        const started = performance.now();
        const figures = await runClient<Figures>(programs.clients[client]!, [
          ...args,
          ...['--concurrency', String(concurrency), '--warmup', '500ms', '--duration', duration],
        ]);
        // The server also worked for the warm-up: its CPU is shared out over all calls, counted ones and those before.
        const share = figures.callsPerSecond * (Number.parseFloat(duration) + 0.5);
        const machineMicros = (performance.now() - started) * 1000 * availableParallelism();
        samples[index]!.push({
          ...figures,
          serverCpuMicrosPerCall: (cpuMicros(pid) - before) / share,
          othersShare: (othersCpuMicros(pid) - othersBefore) / machineMicros,
        });
        if (figures.failures > 0)
          throw new Error(`${client} on ${server}: ${String(figures.failures)} calls failed`);
        process.stdout.write(
          `\rround ${String(round + 1)}/${String(rounds)}, sample ${String(turn + 1)}/${String(cases.length)} (${((performance.now() - started) / 1000).toFixed(1)} s) `,
        );
      }
      for (const server of Object.values(servers)) await server.stop();
    }
  } finally {
    programs.close();
  }
  const middle = (index: number, key: keyof Sample) =>
    Number(median(samples[index]!.map((figures) => figures[key])).toPrecision(4));
  const rows = cases.map((row, index) => ({
    ...row,
    callsPerSecond: middle(index, 'callsPerSecond'),
    p50Ms: middle(index, 'p50Ms'),
    p99Ms: middle(index, 'p99Ms'),
    clientCpuMicrosPerCall: middle(index, 'cpuMicrosPerCall'),
    serverCpuMicrosPerCall: middle(index, 'serverCpuMicrosPerCall'),
    othersShare: Number(middle(index, 'othersShare').toFixed(2)),
  }));
  console.log();
  console.table(rows);
  const ratios = compare(rows);
  console.table(ratios);
  return { versions: programs.versions, rounds, duration, rows, ratios };
}

interface Row extends Case {
  readonly clientCpuMicrosPerCall: number;
  readonly serverCpuMicrosPerCall: number;
}

/** Ours to theirs, with the goal that the issue set. Below 1 is cheaper. */
function compare(rows: readonly Row[]): object[] {
  const find = (wanted: Case) =>
    rows.find((row) => (Object.keys(wanted) as (keyof Case)[]).every((key) => row[key] === wanted[key]));
  const ratios: object[] = [];
  const add = (what: string, ours: number | undefined, theirs: number | undefined, goal?: number) => {
    if (ours === undefined || theirs === undefined) return;
    const ratio = Number((ours / theirs).toFixed(3));
    ratios.push({ what, ratio, ...(goal === undefined ? {} : { goal, reached: ratio <= goal }) });
  };
  for (const concurrency of concurrencies) {
    const goal = (at16: number, at128: number) => ({ 16: at16, 128: at128 })[concurrency];
    const at = (transport: 'grpc' | 'http', client: string, server: string) =>
      find({ transport, client, server, concurrency });
    const suffix = `, ${String(concurrency)} in flight`;
    for (const server of ['go', 'sallyport']) {
      const ours = at('grpc', 'sallyport', server)?.clientCpuMicrosPerCall;
      const where = `gRPC client CPU on ${server}'s server`;
      add(
        `${where}: to grpc-go${suffix}`,
        ours,
        at('grpc', 'go', server)?.clientCpuMicrosPerCall,
        goal(0.6, 0.3),
      );
      add(
        `${where}: to grpc-js${suffix}`,
        ours,
        at('grpc', 'grpc-js', server)?.clientCpuMicrosPerCall,
        goal(0.1, 0.05),
      );
      add(
        `HTTP client CPU on ${server}'s server: to net/http${suffix}`,
        at('http', 'sallyport', server)?.clientCpuMicrosPerCall,
        at('http', 'go', server)?.clientCpuMicrosPerCall,
        // The goal speaks of the client; what the other server makes of it is shown beside it.
        server === 'go' ? goal(0.65, 0.35) : undefined,
      );
    }
    const ours = at('grpc', 'sallyport', 'sallyport')?.serverCpuMicrosPerCall;
    add(
      `gRPC server CPU: to grpc-go${suffix}`,
      ours,
      at('grpc', 'sallyport', 'go')?.serverCpuMicrosPerCall,
      1,
    );
    add(
      `gRPC server CPU: to grpc-js${suffix}`,
      ours,
      at('grpc', 'sallyport', 'grpc-js')?.serverCpuMicrosPerCall,
      0.2,
    );
  }
  return ratios;
}
