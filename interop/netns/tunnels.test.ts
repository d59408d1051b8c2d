// Services of a laptop that nobody can connect to, visited through a server: by host name, by TLS, in private, by datagrams, and
// at ports of the server. Every machine has an address of its own, which is what the laptop and the server know the visitor by.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Program } from '../../packages/proxy/test/program.ts';
import { clientConfig, lively, rules, visitorConfig } from './configs.ts';
import { missingNamespaces } from './netns.ts';
import { countOf, openScene, tunnels, until } from './scene.ts';
import type { Scene } from './scene.ts';

/** What curl says of a connection that is closed without a byte, sooner or later. */
const nothing = /^curl (7|52|56)$/;

const skip = (await missingNamespaces()) ?? false;
/** What the laptop publishes. */
const names = ['web', 'tls', 'ssh', 'dns'] as const;

const alice = { username: 'alice', password: 'secret' };

describe('tunnels through one server', { skip, timeout: 120_000 }, () => {
  let scene: Scene;
  let server: Program;
  let laptop: Program;

  before(async () => {
    scene = await openScene('server', 'laptop', 'visitor', 'mallory', 'crowd', 'hasty');
    const limits = { admission: 'visitors', climiter: 'few', rlimiter: 'slow' };
    server = await scene.serve(
      'server',
      {
        services: [
          {
            ...{ name: 'tunnels', addr: ':8443', listener: { type: 'tcp' }, ...limits },
            handler: {
              type: 'tunnel',
              auth: alice,
              metadata: { ...lively, entrypoint: ':80', ingress: 'names' },
            },
          },
          {
            ...{ name: 'ports', addr: ':8444', listener: { type: 'tcp' }, ...limits },
            handler: {
              type: 'relay',
              auth: alice,
              metadata: { bind: true },
            },
          },
        ],
        ingresses: [{ name: 'names', rules: rules(['web', 'tls'], ['ssh', 'dns']) }],
        admissions: [{ name: 'visitors', matchers: [scene.host('mallory').address] }],
        climiters: [{ name: 'few', limits: [`${scene.host('crowd').address} 2`] }],
        rlimiters: [{ name: 'slow', limits: [`${scene.host('hasty').address} 1`] }],
      },
      /ports listening on/,
    );
    await scene.publish('laptop');
    laptop = await scene.serve(
      'laptop',
      clientConfig({
        nodes: [scene.at('server', 8443)],
        names,
        auth: alice,
      }),
    );
    for (const name of names) await laptop.line(new RegExp(`"msg":"tunnel ${tunnels[name].id}`));
  });
  after(async () => {
    await scene?.close();
  });

  /** Waits for the line about a visitor's connection that has ended. */
  const closed = (program: Program, from: string, service: string) =>
    program.line(
      new RegExp(`"service":"${service}".*"client":"${scene.host(from).address}:\\d+".*"msg":"closed: `),
    );

  /** Five send small ones at once; a system's buffer does not hold more than two of the biggest. */
  const exchange = async (from: string, to: string) => {
    const small = await scene.datagrams(from, 5, to, 1, 100, 1400, 9000);
    assert.deepEqual(small, { sent: 20, same: 20, peers: 5 });
    const big = await scene.datagrams(from, 1, to, 20_000, 40_000, 60_000);
    assert.deepEqual(big, { sent: 3, same: 3, peers: 1 });
  };

  test('a web service is reached by its host name, and who visits is known at both ends', async () => {
    const entrypoint = scene.at('server', 80);
    const { web } = tunnels;
    assert.equal(await scene.get('visitor', entrypoint, web.host), `200 laptop has ${web.host}/`);
    assert.match(await closed(server, 'visitor', 'tunnels'), new RegExp(`"user":"${web.id}"`));
    await closed(laptop, 'visitor', 'web');
    assert.equal(await scene.get('visitor', entrypoint, 'other.example.com'), '502');
    assert.equal(await scene.get('visitor', entrypoint, tunnels.ssh.host), '502');
  });

  test('TLS passes unopened, by the name in its first message', async () => {
    const entrypoint = scene.at('server', 80);
    const { host } = tunnels.tls;
    assert.equal(await scene.get('visitor', entrypoint, host, 'https'), `200 laptop has ${host}/`);
    await closed(laptop, 'visitor', 'tls');
    // No name, no connection: curl's 35 is a handshake that failed.
    assert.equal(await scene.get('visitor', entrypoint, 'other.example.com', 'https'), 'curl 35');
    assert.equal(await scene.get('visitor', entrypoint, tunnels.ssh.host, 'https'), 'curl 35');
  });

  test('whom the service does not admit gets nothing at its entrypoint', async () => {
    const entrypoint = scene.at('server', 80);
    const { host } = tunnels.web;
    assert.match(await scene.get('mallory', entrypoint, host), nothing);
    const { address } = scene.host('mallory');
    await server.line(new RegExp(`"client":"${address}:\\d+".*"module":"admission","decision":"no"`));
    assert.equal(countOf(laptop, new RegExp(address)), 0);
    assert.match(await scene.get('visitor', entrypoint, host), /^200 /);
  });

  test('so many connections, and so many requests in a second, and no more', async () => {
    const entrypoint = scene.at('server', 80);
    const { host } = tunnels.web;
    const held = [scene.hold('crowd', entrypoint, host), scene.hold('crowd', entrypoint, host)];
    for (const one of held) await one.alive();
    assert.match(await scene.get('crowd', entrypoint, host), nothing);
    assert.match(await scene.get('visitor', entrypoint, host), /^200 /);
    await held[0]!.close();
    await until(
      async () => (await scene.get('crowd', entrypoint, host)).startsWith('200 '),
      'the place that is free again',
    );
    await held[1]!.alive();
    await held[1]!.close();

    const load = scene.load('hasty', `http://${host}/`, 50, entrypoint);
    await until(
      () => load.seen.some(({ status }) => status === 429),
      'a visitor who is in too much of a hurry',
    );
    await load.stop();
  });

  test('a private tunnel is reached by who knows its id and who they are, and by nobody else', async () => {
    const node = scene.at('server', 8443);
    const visitor = await scene.serve('visitor', visitorConfig([node], { ssh: 2200, web: 2201 }, alice));
    const port = scene.at('visitor', 2200);
    assert.deepEqual(await scene.echo('visitor', port, 1), { greeting: 'laptop', same: true, bytes: 1 });
    // Eight megabytes there and back, and each direction ends by itself.
    const bytes = 8 * 1024 * 1024;
    assert.deepEqual(await scene.echo('visitor', port, bytes), { greeting: 'laptop', same: true, bytes });
    // Whoever comes through the visitor's machine is known by their own address, too.
    assert.deepEqual(await scene.echo('crowd', port, 1), { greeting: 'laptop', same: true, bytes: 1 });
    await closed(laptop, 'crowd', 'ssh');
    assert.match(await scene.get('visitor', scene.at('visitor', 2201), 'any.example.com'), /^200 laptop /);
    await visitor.stop();

    const wrong = { username: 'alice', password: 'wrong' };
    const stranger = await scene.serve('visitor', visitorConfig([node], { ssh: 2200 }, wrong));
    assert.match(await scene.get('visitor', port, 'x'), nothing);
    await stranger.line(/refused the credentials|wrongCredentials|relay says 2/);
    await stranger.stop();
  });

  test('datagrams, small and big, of several senders at once', async () => {
    const config = visitorConfig([scene.at('server', 8443)], { dns: 5300 }, alice);
    const visitor = await scene.serve('visitor', config);
    for (const from of ['visitor', 'crowd']) await exchange(from, scene.at('visitor', 5300));
    await visitor.stop('SIGKILL');
    await closed(laptop, 'crowd', 'dns');
  });

  test('ports of the server: for connections and datagrams, and for whom the server admits', async () => {
    const [port, datagrams] = [scene.at('server', 2222), scene.at('server', 2053)];
    const node = `relay://alice:secret@${scene.at('server', 8444)}`;
    const client = await scene.run(
      ...['laptop', /"msg":"bound at .*2222/],
      ...['-L', `rtcp://${port}/127.0.0.1:7000`, '-L', `rudp://${datagrams}/127.0.0.1:5353`, '-F', node],
    );
    await client.line(/"msg":"bound at .*2053/);
    const bytes = 1024 * 1024;
    assert.deepEqual(await scene.echo('visitor', port, bytes), { greeting: 'laptop', same: true, bytes });
    await closed(client, 'visitor', 'service-0');
    await exchange('visitor', datagrams);
    assert.match(await scene.get('mallory', port, 'x'), nothing);
    assert.equal(countOf(client, new RegExp(scene.host('mallory').address)), 0);

    // Where the client goes, its ports go.
    await client.stop();
    await until(
      async () => (await scene.get('visitor', port, 'x')) === 'curl 7',
      'a port at which nobody listens',
    );
  });

  test('nobody registers, or has a port, who does not prove who they are', async () => {
    const client = await scene.run(
      ...['crowd', /the node .* wants a user name and a password/],
      ...['-L', 'rtcp://:0/127.0.0.1:1'],
      ...['-F', `tunnel://${scene.at('server', 8443)}?tunnel.id=${tunnels.web.id}`],
    );
    await client.stop();
    const port = scene.at('server', 2223);
    const bound = await scene.run(
      ...['crowd', /the node .* wants a user name and a password/],
      ...['-L', `rtcp://${port}/127.0.0.1:1`, '-F', `relay://${scene.at('server', 8444)}`],
    );
    await bound.stop();
    assert.equal(await scene.get('visitor', port, 'x'), 'curl 7');
    assert.match(await scene.get('visitor', scene.at('server', 80), tunnels.web.host), /^200 laptop /);
  });
});
