// A virtual network of three hosts: a router on a fourth, which asks a plugin for routes, and a network device on each of the three.
// Packets of the system itself go through it: ping, and TCP. Then things break.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Program } from '../../packages/proxy/test/program.ts';
import { createNetwork, missingNamespaces } from './netns.ts';
import type { Network } from './netns.ts';
import {
  launcher,
  missingDevices,
  netOf,
  nodeOf,
  ping as pingOnce,
  siteNames as names,
  siteOf,
  sites,
  startPlugin as startPluginAt,
} from './virtual-network.ts';
import type { SiteName } from './virtual-network.ts';

const router = randomUUID();
const skip = (await missingNamespaces()) ?? missingDevices ?? false;

describe('a virtual network', { skip }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'interop-tun-'));
  let network: Network;
  let plugin: Program;
  const nodes = new Map<string, Program>();
  const programs = new Map<SiteName, Program>();

  const startPlugin = async () => {
    plugin = await startPluginAt(network.host('plugin'), router);
  };

  const writeNode = (name: string, more: object = {}) => {
    const file = path.join(folder, `${name}.json`);
    writeFileSync(file, JSON.stringify({ ...nodeOf(network.host(name), network.host('plugin')), ...more }));
    return file;
  };

  const startNode = async (name: string) => {
    const args = [launcher, '-C', writeNode(name)];
    const program = network.host(name).start(process.execPath, args);
    nodes.set(name, program);
    await program.line(/router listening on/);
  };

  const writeSite = (name: SiteName, ...at: readonly string[]) => {
    const file = path.join(folder, `${name}.json`);
    const hosts = at.map((node) => network.host(node));
    writeFileSync(file, JSON.stringify(siteOf(name, hosts, { router, net: netOf(name) })));
    return file;
  };

  const startSite = async (name: SiteName, ...at: readonly string[]) => {
    const args = [launcher, '-C', writeSite(name, ...at)];
    const program = network.host(name).start(process.execPath, args);
    programs.set(name, program);
    await program.line(/has joined the network/);
  };

  const ping = (from: SiteName, to: string) => pingOnce(network.host(from), to);

  /** Waits until there is an answer; every attempt waits for a second. */
  const pingUntil = async (from: SiteName, to: string, attempts = 15) => {
    for (let attempt = 0; attempt < attempts; attempt++) if (await ping(from, to)) return;
    assert.fail(
      `${from} does not reach ${to}:\n${[...programs.values(), ...nodes.values()].map(({ lines }) => lines.join('\n')).join('\n---\n')}`,
    );
  };

  /** The number of a site's device, which is another one for another device. */
  const index = async (name: SiteName) => {
    const { stdout } = await network.host(name).run('ip', ['-o', 'link', 'show', 'net']);
    return stdout.split(':', 1)[0];
  };

  before(async () => {
    network = await createNetwork('node1', 'node2', 'plugin', ...names);
    for (const name of names) {
      const { behind } = sites[name];
      const host = network.host(name);
      await host.run('ip', ['address', 'add', `${behind}/24`, 'dev', 'lo']);
    }
    await startPlugin();
    await startNode('node1');
    await startNode('node2');
    await startSite('ada', 'node1');
    await startSite('bob', 'node1');
    // Its packets go from node to node.
    await startSite('eve', 'node2');
  });
  after(async () => {
    await network?.close();
    rmSync(folder, { recursive: true });
  });

  test('everybody reaches everybody, by both families and behind them, at one node and from node to node', async () => {
    for (const from of names) {
      for (const to of names.filter((name) => name !== from)) {
        for (const address of [sites[to].own, sites[to].six, sites[to].behind])
          await pingUntil(from, address);
      }
    }
  });

  test('packets of the whole length, and none that nobody has a route for', async () => {
    const { code } = await network
      .host('ada')
      .run('ping', ['-c', '3', '-i', '0.2', '-M', 'do', '-s', '1392', sites.bob.own]);
    assert.equal(code, 0);
    assert.equal(await ping('ada', '10.10.0.77'), false);
  });

  test('ten thousand pings as fast as they can be, and none is lost', async () => {
    const { stdout } = await network
      .host('ada')
      .run('ping', ['-f', '-q', '-c', '10000', sites.bob.own], 60_000);
    assert.match(stdout, /10000 received/);
  });

  /** Sends so many megabytes by TCP, and answers how many bytes came. */
  const transfer = async (from: SiteName, to: SiteName, megabytes: number, ms = 60_000) => {
    const server = network
      .host(to)
      .start(process.execPath, [
        '-e',
        `require('net').createServer((socket) => { let n = 0; socket.on('data', (d) => (n += d.length)).on('end', () => { socket.end(String(n)); }); }).listen(7000, '${sites[to].own}', () => console.log('ready'))`,
      ]);
    await server.line(/ready/);
    const ran = await network.host(from).run(
      process.execPath,
      [
        '-e',
        `const s = require('net').connect(7000, '${sites[to].own}'); let left = ${String(megabytes)}; const chunk = Buffer.alloc(1 << 20, 7);
         const go = () => { while (left-- > 0) if (!s.write(chunk)) { s.once('drain', go); return; } s.end(); };
         s.on('connect', go).on('data', (d) => process.stdout.write(d));`,
      ],
      ms,
    );
    await server.stop();
    return Number(ran.stdout);
  };

  test('TCP, within a node and between two', async (context) => {
    for (const [from, to] of [
      ['ada', 'bob'],
      ['bob', 'eve'],
    ] as const) {
      const started = performance.now();
      assert.equal(await transfer(from, to, 50), 50 << 20);
      const seconds = (performance.now() - started) / 1000;
      context.diagnostic(
        `${from} to ${to}: ${((50 * 8 * 1.048576) / seconds).toFixed(0)} Mbit/s, the programs' start included`,
      );
    }
  });

  test('while the plugin is dead nothing new is decided, and when it is back all goes on', async () => {
    await plugin.stop('SIGKILL');
    // What was decided counts for a second.
    while (await ping('ada', sites.bob.own));
    await startPlugin();
    await pingUntil('ada', sites.bob.own);
    // It keeps its data in memory, and is told anew.
    await pingUntil('ada', sites.eve.own);
    await pingUntil('eve', sites.ada.own);
  });

  test('a site whose cable is out is missed by nobody else, and is back when it is in', async () => {
    await network.host('bob').unplug();
    assert.equal(await ping('ada', sites.bob.own), false);
    assert.equal(await ping('ada', sites.eve.own), true);
    assert.equal(await ping('eve', sites.ada.own), true);
    await network.host('bob').plug();
    await pingUntil('ada', sites.bob.own, 30);
    await pingUntil('bob', sites.eve.own);
  });

  test('a node that is killed and comes back: its sites join again, with the devices that they have', async () => {
    const before = await index('ada');
    await nodes.get('node1')!.stop('SIGKILL');
    await programs.get('ada')!.line(/the network is lost as ada/);
    assert.equal(await ping('ada', sites.bob.own), false);
    await startNode('node1');
    await pingUntil('ada', sites.bob.own);
    await pingUntil('ada', sites.eve.own);
    await pingUntil('eve', sites.bob.own);
    assert.equal(await index('ada'), before);
  });

  test('a reload hands the device over: the site is at another node, with the device that it has', async () => {
    const before = await index('bob');
    const program = programs.get('bob')!;
    writeSite('bob', 'node2');
    // The program that runs in the namespace has the id of what started it.
    process.kill(program.process.pid!, 'SIGHUP');
    await program.line(/reloaded/);
    await pingUntil('ada', sites.bob.own);
    await pingUntil('bob', sites.eve.own);
    assert.equal(await index('bob'), before);
    const sockets = await network.host('bob').run('ss', ['-Htn', 'state', 'established']);
    assert.match(sockets.stdout, new RegExp(`${network.host('node2').address}:8424`));
    assert.doesNotMatch(sockets.stdout, new RegExp(`${network.host('node1').address}:8424`));
  });

  test('a reload of a node: who has joined stays, and whoever joins then is in the same network', async () => {
    const program = nodes.get('node2')!;
    writeNode('node2', { log: { level: 'debug' } });
    process.kill(program.process.pid!, 'SIGHUP');
    await program.line(/reloaded/);
    // Here, from the other node, and to it.
    for (const [from, to] of [
      ['bob', 'eve'],
      ['ada', 'eve'],
      ['eve', 'ada'],
    ] as const)
      await pingUntil(from, sites[to].own);
    await programs.get('eve')!.stop();
    await startSite('eve', 'node2');
    await pingUntil('eve', sites.bob.own);
    await pingUntil('bob', sites.eve.own);
    await pingUntil('ada', sites.eve.own);
  });

  test('a site that ends takes its device with it, and comes back at another node', async () => {
    assert.equal(await programs.get('bob')!.stop(), 0);
    const { code } = await network.host('bob').run('ip', ['link', 'show', 'net']);
    assert.notEqual(code, 0);
    assert.equal(await ping('ada', sites.bob.own), false);
    await startSite('bob', 'node2');
    await pingUntil('ada', sites.bob.own);
    await pingUntil('eve', sites.bob.own);
    await pingUntil('bob', sites.ada.six);
  });

  test('a node that vanishes without a word is left for another', async () => {
    await programs.get('ada')!.stop();
    await startSite('ada', 'node1', 'node2');
    await pingUntil('ada', sites.bob.own);
    await network.host('node1').unplug();
    assert.equal(await ping('ada', sites.bob.own), false);
    await pingUntil('ada', sites.bob.own, 60);
    await pingUntil('eve', sites.ada.own);
    await network.host('node1').plug();
  });

  test('whoever may make no device is told why', async () => {
    const program = network
      .host('node1')
      .start(
        'setpriv',
        ['--bounding-set', '-net_admin', '--inh-caps', '-net_admin', process.execPath, launcher, '-C', '-'],
        {
          input: JSON.stringify(siteOf('mallory', network.host('node1'), { router, net: '10.10.0.9/24' })),
        },
      );
    await program.line(/CAP_NET_ADMIN/);
    assert.notEqual(await program.stop(), 0);
  });
});
