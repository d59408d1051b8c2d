// The same virtual network with GOST in every place: its sites at our node, ours at its node, and both at two nodes, one of each, that
// hand each other packets by UDP.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Program } from '../../packages/proxy/test/program.ts';
import { missingGost } from '../gost/gost.ts';
import { createNetwork, missingNamespaces } from './netns.ts';
import type { Host, Network } from './netns.ts';
import {
  missingDevices,
  netOf,
  nodeOf,
  ping,
  siteOf,
  sites,
  startOurs,
  startPlugin,
} from './virtual-network.ts';
import type { SiteName } from './virtual-network.ts';

const binary = path.join(import.meta.dirname, '../gost/bin/gost');
const router = randomUUID();
const skip = (await missingNamespaces()) ?? missingDevices ?? missingGost;

type Kind = 'ours' | 'gost';
/** Who is at which node: each is one program or the other. */
interface Row {
  readonly nodes: Readonly<Record<string, Kind>>;
  readonly sites: Readonly<Partial<Record<SiteName, readonly [Kind, node: string]>>>;
}

const rows: Readonly<Record<string, Row>> = {
  'a site of GOST’s at our node': {
    nodes: { node1: 'ours' },
    sites: { ada: ['gost', 'node1'], bob: ['ours', 'node1'] },
  },
  'our site at a node of GOST’s': {
    nodes: { node1: 'gost' },
    sites: { ada: ['ours', 'node1'], bob: ['gost', 'node1'] },
  },
  'two nodes, one of each': {
    nodes: { node1: 'gost', node2: 'ours' },
    sites: { ada: ['ours', 'node1'], bob: ['gost', 'node2'], eve: ['ours', 'node2'] },
  },
};

for (const [what, row] of Object.entries(rows)) {
  describe(what, { skip }, () => {
    const home = mkdtempSync(path.join(tmpdir(), 'interop-tun-gost-'));
    const joined = Object.keys(row.sites) as SiteName[];
    const programs: Program[] = [];
    let network: Network;

    const start = async (kind: Kind, host: Host, config: object, ready: RegExp) => {
      const program =
        kind === 'ours'
          ? startOurs(host, config)
          : host.start(binary, ['-C', '-', '-D'], {
              input: JSON.stringify(config),
              env: { HOME: home },
              cwd: home,
            });
      programs.push(program);
      await program.line(kind === 'ours' ? ready : /^ready /);
    };

    before(async () => {
      network = await createNetwork('plugin', ...Object.keys(row.nodes), ...joined);
      await startPlugin(network.host('plugin'), router);
      for (const [name, kind] of Object.entries(row.nodes)) {
        const host = network.host(name);
        await start(kind, host, nodeOf(host, network.host('plugin')), /router listening on/);
      }
      for (const name of joined) {
        const [kind, node] = row.sites[name]!;
        const config = siteOf(name, network.host(node), { router, net: netOf(name) });
        await start(kind, network.host(name), config, /has joined the network/);
      }
    });
    after(async () => {
      await network?.close();
      rmSync(home, { recursive: true });
    });

    test('everybody reaches everybody, by both families', async () => {
      for (const from of joined) {
        for (const to of joined.filter((name) => name !== from)) {
          for (const address of [sites[to].own, sites[to].six]) {
            let reached = false;
            for (let attempt = 0; attempt < 10 && !reached; attempt++)
              reached = await ping(network.host(from), address);
            const logs = programs.map(({ lines }) => lines.slice(-30).join('\n')).join('\n---\n');
            assert.ok(reached, `${from} does not reach ${to} at ${address}:\n${logs}`);
          }
        }
      }
    });

    test('a thousand packets of the whole length, and none is lost', async () => {
      const [from, to] = [joined[0]!, joined[1]!];
      const args = ['-f', '-q', '-c', '1000', '-M', 'do', '-s', '1392', sites[to].own];
      const { stdout } = await network.host(from).run('ping', args, 30_000);
      assert.match(stdout, /1000 received/);
    });
  });
}
