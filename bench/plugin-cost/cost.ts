/** What a question costs the connection that it is asked for: calls, and milliseconds until a tunnel is open. */
import type { ModuleKind, PluginTransport } from '@sallyport/plugin';
import { startSallyport } from '../../interop/gost/programs.ts';
import { startNode, startOrigin } from '../../interop/gost/traffic.ts';
import { startPlugins } from '../../packages/proxy/test/modules/plugins.ts';
import { visit } from '../../packages/proxy/test/modules/visits.ts';
import type { BenchOptions } from '../run.ts';

/** One module at its place, asked over one transport. */
interface Row {
  readonly module: string;
  readonly transport: PluginTransport;
  readonly callsPerConnection: number;
  /** Median time from connecting to the answer of CONNECT. */
  readonly openMs: number;
  /** The same, less that of a service that asks nobody, in the same rounds. */
  readonly addedMs: number;
}

const connectionsPerRound = 100;
const warmUp = 50;

const places: readonly {
  readonly module: string;
  readonly kind?: ModuleKind;
  readonly section?: string;
  readonly service?: object;
  readonly handler?: object;
  /** What a connection needs beside the question, and the service to compare with has as well. */
  readonly through?: 'node';
}[] = [
  { module: 'nobody' },
  { module: 'nobody, through a node', through: 'node' },
  { module: 'admission', kind: 'admission', section: 'admissions', service: { admission: 'it' } },
  { module: 'auther', kind: 'auth', section: 'authers', handler: { auther: 'it' } },
  { module: 'bypass', kind: 'bypass', section: 'bypasses', service: { bypass: 'it' } },
  { module: 'hosts', kind: 'hosts', section: 'hosts', service: { hosts: 'it' } },
  { module: 'resolver', kind: 'resolver', section: 'resolvers', service: { resolver: 'it' } },
  { module: 'hop', kind: 'hop', handler: { chain: 'hop' }, through: 'node' },
  { module: 'limiter (service)', kind: 'limiter', section: 'limiters', service: { limiter: 'it' } },
  {
    module: 'recorder',
    kind: 'recorder',
    section: 'recorders',
    service: { recorders: [{ name: 'it', record: 'recorder.service.handler' }] },
  },
];

/** Opens tunnels through one proxy, in turns over all services, with the plugins in this process. */
export async function measurePluginCost({ rounds }: BenchOptions): Promise<{ rows: readonly Row[] }> {
  const origin = await startOrigin();
  const node = await startNode();
  const rows: Row[] = [];
  for (const transport of ['grpc', 'http'] as const) {
    const plugins = await startPlugins(transport, {
      admission: { admit: () => true },
      auth: { authenticate: () => ({ ok: true, user: 'somebody' }) },
      bypass: { bypass: () => false },
      hosts: { lookup: () => ['127.0.0.1'] },
      resolver: { resolve: () => ['127.0.0.1'] },
      hop: { select: () => ({ addr: node.address }) },
      limiter: { limit: () => [] },
      recorder: { record: () => true },
    });
    const sections = Object.fromEntries(
      places.flatMap(({ section, kind }) =>
        section === undefined ? [] : [[section, [{ name: 'it', plugin: plugins.block(kind!) }]]],
      ),
    );
    const proxy = await startSallyport({
      services: places.map(({ service, handler, kind, through }, index) => ({
        ...{ name: `s${String(index)}`, addr: '127.0.0.1:0', ...service },
        handler: { type: 'http', ...(through && kind === undefined && { chain: 'node' }), ...handler },
      })),
      chains: [
        { name: 'hop', hops: [{ name: 'hop', plugin: plugins.block('hop') }] },
        { name: 'node', hops: [{ name: 'node', nodes: [{ addr: node.address }] }] },
      ],
      ...sections,
    });
    const times = places.map((): number[] => []);
    const connections = rounds * connectionsPerRound;
    // The first connections of a program are slow for reasons of their own.
    for (let i = -warmUp; i < connections; i++) {
      // In another order each time: what a connection leaves behind falls to whoever comes next.
      for (const index of shuffled(places.length)) {
        const { module } = places[index]!;
        const host = module === 'hosts' || module === 'resolver' ? 'origin.test' : '127.0.0.1';
        const started = performance.now();
        let open = 0;
        const { outcome } = await visit('CONNECT', proxy.address(`s${String(index)}`), {
          target: `${host}:${String(origin.port)}`,
          credentials: 'u:p',
          opened: () => void (open = performance.now() - started),
        });
        if (outcome !== 'ok') throw new Error(`${module}: ${outcome}`);
        if (i >= 0) times[index]!.push(open);
      }
    }
    await proxy.stop();
    const base = (through: boolean) => median(times[through ? 1 : 0]!);
    for (const [index, { module, kind, through }] of places.entries()) {
      if (kind === undefined) continue;
      const openMs = median(times[index]!);
      rows.push({
        ...{ module, transport, openMs: rounded(openMs) },
        callsPerConnection: rounded(
          plugins.history.filter(([method]) => method.startsWith(`${kind}.`)).length / (connections + warmUp),
        ),
        addedMs: rounded(openMs - base(through !== undefined)),
      });
    }
    await plugins.close();
  }
  await node.close();
  await origin.close();
  for (const { module, transport, callsPerConnection, openMs, addedMs } of rows) {
    console.log(
      `${module.padEnd(20)} ${transport}  ${String(callsPerConnection).padStart(5)} calls  ${openMs.toFixed(2)} ms, of which ${addedMs.toFixed(2)} ms are the question's`,
    );
  }
  return { rows };
}

function shuffled(count: number): number[] {
  return Array.from({ length: count }, (_, index) => ({ index, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ index }) => index);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
