/** `npm run bench -- NAME…`: runs measures one after the other and keeps what they found. */
import { mkdirSync, writeFileSync } from 'node:fs';
import * as os from 'node:os';
import { parseArgs } from 'node:util';
import { measureMux } from './mux/mux.ts';
import { measureNetwork } from './network/network.ts';
import { measurePluginCalls } from './plugin-calls/calls.ts';
import { measurePluginGrowth } from './plugin-calls/growth.ts';
import { measurePluginMemory } from './plugin-calls/memory.ts';
import { measurePluginCost } from './plugin-cost/cost.ts';
import { measureProxy } from './proxy/proxy.ts';
import { measureTunnels } from './tunnels/tunnels.ts';

/** What a measure may be told. */
export interface BenchOptions {
  /** How often each competitor has its turn. */
  readonly rounds: number;
  /** How long one sample lasts, in Go's words: `2s`. */
  readonly duration: string;
}

const measures: Readonly<Record<string, (options: BenchOptions) => Promise<object>>> = {
  'plugin-calls': measurePluginCalls,
  'plugin-memory': measurePluginMemory,
  'plugin-growth': measurePluginGrowth,
  'plugin-cost': measurePluginCost,
  proxy: measureProxy,
  mux: measureMux,
  tunnels: measureTunnels,
  network: measureNetwork,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    duration: { type: 'string', default: '2s' },
    local: { type: 'boolean', default: false },
  },
});
const unknown = positionals.filter((name) => !(name in measures));
if (unknown.length > 0) {
  console.error(
    `bench: no measure is named ${unknown.join(', ')}; known: ${Object.keys(measures).join(', ')}`,
  );
  process.exit(2);
}
const folder = new URL('results/', import.meta.url);
mkdirSync(folder, { recursive: true });
for (const [name, measure] of Object.entries(measures)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  console.log(`\n${name}`);
  const found = await measure({ rounds: Number(values.rounds), duration: values.duration });
  const machine = {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    system: `${os.type()} ${os.release()}`,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
  };
  const file = `${values.local ? 'local-' : ''}${name}.json`;
  writeFileSync(new URL(file, folder), `${JSON.stringify({ measure: name, machine, ...found }, null, 2)}\n`);
  console.log(`written: bench/results/${file}`);
}
