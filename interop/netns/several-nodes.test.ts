// Three nodes, and a tunnel that is registered at one of them: it is reached through all, by every kind of visitor. Then nodes,
// Redis and the plugin are killed and come back, while visitors come.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openCluster, nodes } from './cluster.ts';
import type { Cluster, Discovery, NodeName } from './cluster.ts';
import { clientConfig, renewMs, visitorConfig } from './configs.ts';
import { missingNamespaces } from './netns.ts';
import { nextLine, tunnels, until } from './scene.ts';
import type { Scene, Seen, Served, TunnelName } from './scene.ts';

/** Through which visitors come while the first one is killed. */
const others = ['node2', 'node3'] as const;

const skip = (await missingNamespaces()) ?? false;

for (const sd of ['plugin', 'redis'] as const)
  describe(`several nodes that find each other by ${sd}`, { skip, timeout: 180_000 }, () => {
    suite(sd);
  });

function suite(sd: Discovery): void {
  let cluster: Cluster;
  let scene: Scene;
  let ada: Served;
  let bob: Served;

  /** A client that knows one node only. */
  const patient = (node: NodeName, name: TunnelName) =>
    clientConfig({ nodes: [cluster.address(node)], names: [name], asks: true });
  const startBob = async () => {
    bob = await scene.serve('bob', patient('node2', 'web'));
  };

  before(async () => {
    cluster = await openCluster(sd, 'ada', 'bob', 'visitor');
    ({ scene } = cluster);
    await scene.publish('ada');
    await scene.publish('bob');
    ada = await scene.serve(
      'ada',
      clientConfig({
        nodes: [cluster.address('node1'), cluster.address('node3')],
        names: ['web', 'app', 'tls', 'ssh', 'dns'],
        asks: true,
      }),
    );
    await startBob();
  });
  after(async () => {
    await scene?.close();
  });

  test('a client at one node is reached through all', async () => {
    for (const { id, host } of Object.values(tunnels))
      await ada.line(new RegExp(`"msg":"tunnel ${id}.* as ${host}"`));
    await cluster.found('tls');
    await cluster.registered('web', 'node1', 'node2');
    await cluster.registered('tls', 'node1');
    await cluster.registered('dns', 'node1');
    for (const node of nodes) {
      assert.match(await cluster.get(node, 'web'), /^200 (ada|bob) has web\.example\.com\/$/);
      assert.equal(await cluster.get(node, 'tls', 'https'), '200 ada has tls.example.com/');
      const visitor = await scene.serve(
        'visitor',
        visitorConfig([cluster.address(node)], { ssh: 2200, dns: 5300 }),
      );
      const bytes = 1024 * 1024;
      const echoed = await scene.echo('visitor', scene.at('visitor', 2200), bytes);
      assert.deepEqual(echoed, { greeting: 'ada', same: true, bytes });
      const seen = await scene.datagrams('visitor', 4, scene.at('visitor', 5300), 1, 1400, 9000);
      assert.deepEqual(seen, { sent: 12, same: 12, peers: 4 });
      await visitor.stop('SIGKILL');
    }
  });

  test('a node killed under load is routed around within one renew period, and its clients find another', async (context) => {
    const waiting = await scene.serve('bob', patient('node1', 'ssh'));
    await cluster.registered('ssh', 'node1', 'node1');
    const entrypoints = others.map((node) => cluster.entrypoint(node));
    const load = scene.load('visitor', `http://${tunnels.web.host}/`, 10, ...entrypoints);
    // This one has no other connector.
    const only = scene.load('visitor', `https://${tunnels.tls.host}/`, 20, ...entrypoints);
    const byAda = ({ to, body }: Seen) =>
      to === cluster.entrypoint('node3') && body?.startsWith('ada') === true;
    await load.more(20, byAda);
    await only.more(5);
    const held = scene.hold('visitor', cluster.entrypoint('node2'), tunnels.app.host);
    await held.alive();
    const visitor = await scene.serve('visitor', visitorConfig([cluster.address('node2')], { dns: 5300 }));
    const asking = scene.ask('visitor', scene.at('visitor', 5300));
    await asking.alive();
    const moved = nextLine(ada, new RegExp(`"msg":"tunnel ${tunnels.tls.id}`)).then(() => Date.now());
    const killedAt = Date.now();
    await cluster.killNode('node1');
    // What went through it is over, and whoever had it is told.
    await until(() => held.lost !== undefined, 'the end of what went through the node');
    const movedAt = await moved;
    await load.more(20, byAda);
    await only.more(20);
    await asking.alive();
    await asking.close();
    await visitor.stop('SIGKILL');
    const failed = (seen: readonly Seen[]) => seen.filter(({ status }) => status !== 200);
    const facts = (seen: readonly Seen[]) => {
      const came = seen.filter(({ at }) => at > killedAt).length;
      const last = Math.max(0, ...failed(seen).map(({ at, ms }) => at + ms - killedAt));
      return `${String(failed(seen).length)} of ${String(came)} visits failed, the last ${String(last)} ms after the kill`;
    };
    const seen = await load.stop();
    const seenOfOnly = await only.stop();
    context.diagnostic(`${sd}, with a connector at another node: ${facts(seen)}`);
    context.diagnostic(
      `${sd}, with none, until its client was elsewhere (${String(movedAt - killedAt)} ms): ${facts(seenOfOnly)}`,
    );
    // Those failed that were under way then, or came until there was another way.
    const unexpected = (seen: readonly Seen[], untilMs: number) =>
      failed(seen).filter(({ at, ms }) => at + ms < killedAt || at > untilMs);
    assert.deepEqual(unexpected(seen, killedAt + renewMs), []);
    assert.deepEqual(unexpected(seenOfOnly, movedAt + renewMs), []);

    // What the dead one said is forgotten, and nobody is there twice.
    await cluster.registered('web', 'node2', 'node3');
    await cluster.registered('ssh', 'node3');
    await cluster.startNode('node1');
    await cluster.registered('ssh', 'node1', 'node3');
    for (const name of ['web', 'tls'] as const) await cluster.found(name);
    await waiting.stop();
    await cluster.registered('ssh', 'node3');
  });

  /**
   * What a visitor is told while nobody can be asked: at once, and by the policy. The third node goes by the last good answer, and
   * has a connector itself.
   */
  const refused = async () => {
    for (const node of ['node1', 'node2'] as const) {
      const started = Date.now();
      assert.match(await cluster.get(node, 'web'), /^50[23]$/, node);
      assert.equal(await cluster.get(node, 'tls', 'https'), 'curl 35', node);
      const ms = Date.now() - started;
      assert.ok(ms < 5000, `${node} took ${String(ms)} ms`);
    }
    assert.match(await cluster.get('node3', 'web'), /^200 ada /);
    assert.match(await cluster.get('node3', 'tls', 'https'), /^200 ada /);
  };

  for (const what of ['Redis', 'the plugin server'] as const) {
    const kill = () => (what === 'Redis' ? cluster.killRedis() : cluster.killPlugin());
    const start = () => (what === 'Redis' ? cluster.startRedis() : cluster.startPlugin());
    test(`while ${what} is killed live tunnels go on and new visitors are refused; all is found when it is back`, async () => {
      const held = nodes.map((node) => scene.hold('visitor', cluster.entrypoint(node), tunnels.app.host));
      for (const one of held) await one.alive();
      await kill();
      await refused();
      // Somebody comes and somebody goes meanwhile.
      const late = await scene.serve('bob', patient('node2', 'ssh'));
      await late.line(/"msg":"tunnel /);
      await bob.stop();
      await refused();
      for (const one of held) await one.alive();
      await start();
      for (const name of ['web', 'app', 'tls', 'dns'] as const) await cluster.registered(name, 'node3');
      await cluster.registered('ssh', 'node2', 'node3');
      for (const name of ['web', 'tls'] as const) await cluster.found(name);
      await late.stop();
      await cluster.registered('ssh', 'node3');
      await startBob();
      await cluster.registered('web', 'node2', 'node3');
      for (const one of held) await one.alive();
      for (const one of held) await one.close();
    });
  }

  test('a Redis that has lost everything knows all connectors again after one renewal, and names when their clients come again', async () => {
    await cluster.registered('web', 'node2', 'node3');
    const before = await cluster.entries('web');
    await scene.askRedis('store', 'FLUSHALL');
    await cluster.registered('web', 'node2', 'node3');
    for (const name of ['app', 'tls', 'ssh', 'dns'] as const) await cluster.registered(name, 'node3');
    // The same, and not once more.
    const ids = (entries: typeof before) => entries.map(({ node, id }) => `${node} ${id}`).sort();
    assert.deepEqual(ids(await cluster.entries('web')), ids(before));
    await bob.stop();
    await startBob();
    await cluster.found('web');
  });
}
