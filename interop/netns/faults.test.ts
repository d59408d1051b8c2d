// What breaks between machines: cables that are pulled out, nodes that are stopped or given another configuration. Visitors come all
// the while, and each of them is counted.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openCluster } from './cluster.ts';
import type { Cluster, NodeName } from './cluster.ts';
import { clientConfig } from './configs.ts';
import { missingNamespaces } from './netns.ts';
import { nextLine, tunnels, until } from './scene.ts';
import type { Held, Load, Scene, Seen, Served } from './scene.ts';

const skip = (await missingNamespaces()) ?? false;

/** Whoever is not heard of for so long is gone: see `lively`. */
const silenceMs = 3000;

/** How long a node waits for another that says nothing before it tries the next. */
const impatientMs = 3000;

/** What a loaded machine, and the time between two signs of life, may add to any of these. */
const slackMs = 3000;

describe('faults between machines', { skip, timeout: 180_000 }, () => {
  let cluster: Cluster;
  let scene: Scene;
  let ada: Served;
  let bob: Served;

  const startClient = (name: 'ada' | 'bob', ...at: readonly NodeName[]) => {
    const addresses = at.map((node) => cluster.address(node));
    return scene.serve(name, clientConfig({ nodes: addresses, names: ['web', 'app', 'tls'], asks: true }));
  };
  const load = (everyMs: number, ...through: readonly NodeName[]): Load =>
    scene.load(
      'visitor',
      `http://${tunnels.web.host}/`,
      everyMs,
      ...through.map((node) => cluster.entrypoint(node)),
    );
  const hold = (from: string, through: NodeName): Held =>
    scene.hold(from, cluster.entrypoint(through), tunnels.app.host);
  const by = (name: string) => (seen: Seen) => seen.body?.startsWith(`${name} `) === true;
  const failures = (seen: readonly Seen[]) => seen.filter(({ status }) => status !== 200);

  before(async () => {
    cluster = await openCluster('plugin', 'ada', 'bob', 'visitor', 'other');
    ({ scene } = cluster);
    await scene.publish('ada');
    await scene.publish('bob');
  });
  after(async () => {
    await scene?.close();
  });

  test('a node is given another configuration, again and again, and no visitor notices', async () => {
    ada = await startClient('ada', 'node1');
    await cluster.registered('web', 'node1');
    await cluster.found('web');
    const [entry] = await cluster.entries('web');
    const held = [hold('visitor', 'node1'), hold('other', 'node2')];
    for (const one of held) await one.alive();
    const visitors = load(10, 'node1', 'node2');
    await visitors.more(20);
    const node = cluster.node('node1');
    for (const limit of [100, 200, 300]) {
      const config = cluster.config('node1') as { services: object[] };
      const changed = {
        ...config,
        services: config.services.map((service) => ({ ...service, climiter: 'many' })),
        climiters: [{ name: 'many', limits: [`$$ ${String(limit)}`] }],
      };
      await node.reload(changed);
      await visitors.more(20);
    }
    await node.reload({ services: [{ name: 'wrong', addr: 'nowhere' }] });
    assert.ok(node.lines.some((line) => line.includes('not reloaded')));
    await node.reload(cluster.config('node1'));
    await visitors.more(20);
    assert.deepEqual(failures(await visitors.stop()), []);
    for (const one of held) await one.alive();
    for (const one of held) await one.close();
    // It is the connector that it was, and stands there once.
    assert.deepEqual(await cluster.entries('web'), [entry]);
  });

  test('a client whose cable is out is noticed, others stand in for it, and it comes back when the cable is in', async (context) => {
    bob = await startClient('bob', 'node1', 'node2');
    await cluster.registered('web', 'node1', 'node1');
    const visitors = load(20, 'node1', 'node2');
    await visitors.more(10, by('ada'));
    await visitors.more(10, by('bob'));
    const cutAt = Date.now();
    await scene.host('ada').unplug();
    await cluster.registered('web', 'node1');
    // Whoever comes from now on is served, and soon.
    const noticedAt = Date.now();
    await visitors.more(50, by('bob'));
    const seen = visitors.seen.filter(({ at }) => at > noticedAt);
    assert.deepEqual(failures(seen), []);
    const pluggedAt = Date.now();
    await Promise.all([scene.host('ada').plug(), nextLine(ada, /"msg":"tunnel /, 30_000)]);
    await cluster.registered('web', 'node1', 'node1');
    await visitors.more(10, by('ada'));
    const backMs = Date.now() - pluggedAt;
    const all = await visitors.stop();
    const failed = failures(all);
    const slowest = Math.max(...all.map(({ ms }) => ms));
    context.diagnostic(
      `noticed after ${String(noticedAt - cutAt)} ms; ${String(failed.length)} of ${String(all.length)} visits failed, the slowest took ${String(slowest)} ms; back after ${String(backMs)} ms`,
    );
    assert.ok(slowest <= silenceMs + slackMs, `somebody waited for ${String(slowest)} ms`);
  });

  test('a visitor whose cable is out for a moment goes on where it was, and nobody else notices', async () => {
    const held = hold('other', 'node2');
    await held.alive();
    const visitors = load(20, 'node1', 'node2');
    await visitors.more(10);
    await scene.host('other').unplug();
    await visitors.more(50);
    assert.deepEqual(failures(await visitors.stop()), []);
    await scene.host('other').plug();
    await held.alive();
    await held.close();
  });

  test('a node that is stopped lets its clients go elsewhere and its visitors finish, and nobody fails that was taken', async () => {
    await bob.stop();
    await ada.stop();
    bob = await startClient('bob', 'node2');
    ada = await startClient('ada', 'node1', 'node3');
    await cluster.registered('web', 'node1', 'node2');
    const held = hold('visitor', 'node1');
    await held.alive();
    const visitors = load(10, 'node2', 'node3');
    const overTls = scene.load(
      ...(['visitor', `https://${tunnels.tls.host}/`, 20] as const),
      ...[cluster.entrypoint('node2'), cluster.entrypoint('node3')],
    );
    await overTls.more(10, by('ada'));
    await visitors.more(20, by('ada'));
    const node = cluster.node('node1');
    const moved = nextLine(ada, /"msg":"tunnel .* as web/);
    node.process.kill('SIGTERM');
    await moved;
    await cluster.registered('web', 'node2', 'node3');
    await visitors.more(20, by('ada'));
    assert.deepEqual(failures(await visitors.stop()), []);
    // Who waits in the system's queue when a node closes its socket is reset by the system. A request is sent once more, to another
    // connector; what is within TLS nobody here may send twice.
    const cut = failures(await overTls.stop());
    assert.ok(cut.length <= 1 && cut.every(({ error }) => error === 'ECONNRESET'), JSON.stringify(cut));
    await held.alive();
    await held.close();
    await until(() => node.process.exitCode !== null, 'the end of the node');
    assert.equal(node.process.exitCode, 0);
  });

  test('a node whose cable is out is passed over, and its clients go to another', async (context) => {
    await ada.stop();
    await cluster.startNode('node1');
    // It would leave the node that has just been gone to the last.
    await cluster.killNode('node3');
    await cluster.startNode('node3');
    ada = await startClient('ada', 'node1', 'node3');
    await cluster.registered('web', 'node1', 'node2');
    const visitors = load(20, 'node3');
    await visitors.more(10, by('ada'));
    await visitors.more(10, by('bob'));
    await scene.host('node1').unplug();
    const cutAt = Date.now();
    // Nothing tells that it is gone: somebody waits, and is served by the other.
    await nextLine(ada, /"msg":"tunnel /, 30_000);
    await cluster.registered('web', 'node2', 'node3');
    await visitors.more(10, by('ada'));
    const movedMs = Date.now() - cutAt;
    await scene.host('node1').plug();
    // What the node has to say by then makes nobody be there twice.
    await visitors.more(50);
    await cluster.found('web', 'node1');
    await cluster.registered('web', 'node2', 'node3');
    const all = await visitors.stop();
    // What was on its way to the node is lost. Whoever came later had to wait until another was tried, and was served.
    const lost = failures(all);
    const later = all.filter(({ at }) => at > cutAt);
    const slowest = Math.max(...later.map(({ ms }) => ms));
    context.diagnostic(
      `${String(lost.length)} of ${String(all.length)} visits failed, the slowest that came later took ${String(slowest)} ms; its client was elsewhere after ${String(movedMs)} ms`,
    );
    assert.deepEqual(failures(later), []);
    assert.ok(slowest <= impatientMs + slackMs, `somebody waited for ${String(slowest)} ms`);
  });
});
