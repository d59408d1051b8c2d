// The ways in to the tunnels of one server, of either make, with connectors and visitors' clients of both: HTTP by each request's host,
// TLS by its name, relay visitors at the handler and at the entrypoint, private tunnels, several connectors in one tunnel. It needs
// a built program (`npm run build`).
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { enter, startFarEnd, startSecure, visitAndForget, visitEcho } from './far-end.ts';
import type { FarEnd } from './far-end.ts';
import { missingGost, startGost } from './gost.ts';
import { chainOf, ownAddress } from './links.ts';
import { closeAll, startSallyport } from './programs.ts';
import type { Proxy } from './programs.ts';
import { dial, exchange, request, startOrigin } from './traffic.ts';
import type { Seen } from './traffic.ts';

const programs = { gost: startGost, sallyport: startSallyport };
type Name = keyof typeof programs;
const names = ['gost', 'sallyport'] as const;

interface Connector {
  readonly tunnel: string;
  readonly make: Name;
  /** Where it leads to. */
  readonly end: string;
  readonly weight?: number;
}

interface Visitor {
  /** What it is called, and which program it is a service of. */
  readonly name: string;
  readonly make: Name;
  /** Where the server is asked. */
  readonly at: 'handler' | 'entrypoint';
  /** The id that it says, and the host that it wants. */
  readonly id: string;
  readonly host: string;
}

function serverSuite(make: Name): void {
  const closing: (() => unknown)[] = [];
  const entrypoint = `${ownAddress()}:23000`;
  /** Tunnels by their names; each has the host `NAME.test`. */
  const ids = new Map<string, string>();
  const idOf = (name: string) => {
    if (!ids.has(name)) ids.set(name, randomUUID());
    return ids.get(name)!;
  };
  const publicId = randomUUID();
  const origins = { gost: '127.0.0.1', sallyport: '127.0.0.2' };
  let visitors: Record<Name, Proxy>;
  /** A server whose visitors end their direction and are not heard of again. */
  let left: FarEnd;

  const start = async (name: Name, config: Parameters<typeof startSallyport>[0]) => {
    const proxy = await programs[name](config);
    closing.push(() => proxy.stop());
    return proxy;
  };
  const wanted: Visitor[] = names.flatMap((name) => {
    const here = (tunnel: string, at: Visitor['at'], id: string, host = `${tunnel}.test`): Visitor => ({
      ...{ name: `${tunnel}-${at}-${id === publicId ? 'public' : 'own'}-${host}`, make: name, at, id, host },
    });
    return names.flatMap((to) => [
      here(`raw-${to}`, 'handler', idOf(`raw-${to}`)),
      here(`raw-${to}`, 'entrypoint', idOf(`raw-${to}`)),
      here(`raw-${to}`, 'handler', publicId),
      here(`private-${to}`, 'handler', idOf(`private-${to}`)),
      here(`private-${to}`, 'handler', publicId),
      here(`private-${to}`, 'entrypoint', idOf(`private-${to}`)),
      here(`raw-${to}`, 'handler', idOf(`raw-${to}`), 'none.test'),
      here(`left-${to}`, 'handler', idOf(`left-${to}`)),
    ]);
  });
  const doorOf = (
    from: Name,
    tunnel: string,
    at: Visitor['at'],
    id: 'own' | 'public',
    host = `${tunnel}.test`,
  ) => visitors[from].address(`${tunnel}-${at}-${id}-${host}`);

  before(async () => {
    const origin = await startOrigin();
    closing.push(() => origin.close());
    const farEnd = await startFarEnd();
    closing.push(() => farEnd.close());
    left = await startFarEnd();
    closing.push(() => left.close());
    const secure = await startSecure();
    closing.push(() => secure.close());
    const web = (name: Name) => `${origins[name]}:${String(origin.port)}`;
    const connectors: Connector[] = names.flatMap((name) => [
      { make: name, tunnel: `web-${name}`, end: web(name) },
      { make: name, tunnel: `secure-${name}`, end: secure.address },
      { make: name, tunnel: `raw-${name}`, end: farEnd.address },
      { make: name, tunnel: `private-${name}`, end: farEnd.address },
      { make: name, tunnel: `left-${name}`, end: left.address },
      // Several connectors of both makes in one tunnel.
      { make: name, tunnel: 'shared', end: web(name) },
      { make: name, tunnel: 'only-gost', end: web(name), weight: name === 'gost' ? 255 : 1 },
      { make: name, tunnel: 'only-sallyport', end: web(name), weight: name === 'sallyport' ? 255 : 1 },
      { make: name, tunnel: 'weighed', end: web(name), weight: name === 'gost' ? 1 : 9 },
    ]);
    const rules = [...new Set(connectors.map(({ tunnel }) => tunnel))].map(
      (tunnel) => `${tunnel}.test:${tunnel.startsWith('private') ? '$' : ''}${idOf(tunnel)}`,
    );
    const metadata = {
      ...{ entrypoint, 'entrypoint.id': publicId, tunnel: rules.join(',') },
      'entrypoint.keepalive': true,
    };
    const server = await start(make, {
      services: [{ name: 'tunnels', addr: '127.0.0.1:0', handler: { type: 'tunnel', metadata } }],
    });
    const addresses = { handler: server.address('tunnels'), entrypoint };
    for (const name of names) {
      const own = connectors.filter((one) => one.make === name);
      const program = await start(name, {
        services: own.map(({ tunnel, end }) => ({
          ...{ name: tunnel, addr: ':0', handler: { type: 'rtcp' } },
          listener: { type: 'rtcp', chain: tunnel },
          forwarder: { nodes: [{ name: 'end', addr: end }] },
        })),
        chains: own.map(({ tunnel, weight }) =>
          chainOf(tunnel, {
            addr: addresses.handler,
            connector: {
              type: 'tunnel',
              // In GOST's JSON a number is none.
              metadata: { 'tunnel.id': idOf(tunnel), ...(weight && { 'tunnel.weight': String(weight) }) },
            },
          }),
        ),
      });
      for (const { tunnel } of own) await program.line(new RegExp(`tunnel[ =]${idOf(tunnel)}`));
    }
    const visitorsOf = (name: Name) => {
      const own = wanted.filter((one) => one.make === name);
      return start(name, {
        services: own.map(({ name: service, host }) => ({
          ...{ name: service, addr: '127.0.0.1:0', handler: { type: 'tcp', chain: service } },
          forwarder: { nodes: [{ name: 'end', addr: `${host}:7` }] },
        })),
        chains: own.map(({ name: service, at, id }) =>
          chainOf(service, {
            addr: addresses[at],
            connector: { type: 'tunnel', metadata: { 'tunnel.id': id } },
          }),
        ),
      });
    };
    visitors = { gost: await visitorsOf('gost'), sallyport: await visitorsOf('sallyport') };
    for (const from of names)
      for (const to of names) await visitAndForget(await enter(doorOf(from, `left-${to}`, 'handler', 'own')));
  });
  after(async () => {
    await closeAll(closing);
  });

  const isRefused = (address: string) =>
    assert.rejects(async () => {
      const { socket } = await enter(address);
      socket.destroy();
    }, /ended before|ECONNRESET/);
  /** Which make's connector an HTTP visitor of a host gets. */
  const servedBy = async (host: string): Promise<Name> => {
    const { status, body } = await request(entrypoint, '/page', { headers: { host } });
    assert.equal(status, 200);
    return (JSON.parse(body) as Seen).at === origins.gost ? 'gost' : 'sallyport';
  };

  test('every request of a connection goes by its own host', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number>();
    try {
      for (const name of [...names, ...names]) {
        const host = `web-${name}.test`;
        const { body, port } = await keptAlive(entrypoint, host, agent);
        const seen = JSON.parse(body) as Seen;
        assert.deepEqual([seen.headers['host'], seen.at], [host, origins[name]]);
        ports.add(port);
      }
    } finally {
      agent.destroy();
    }
    assert.equal(ports.size, 1, 'all went over one connection');
  });

  test('a large body each way', async () => {
    for (const name of names) {
      const body = 'x'.repeat(1_000_000);
      const headers = { host: `web-${name}.test` };
      const answer = await request(entrypoint, '/page', { method: 'POST', body, headers });
      assert.ok((JSON.parse(answer.body) as Seen).body === body, 'it came back as it was sent');
    }
  });

  test('TLS goes by its name', async () => {
    for (const name of names) {
      const servername = `secure-${name}.test`;
      const socket = await dial(entrypoint, { servername, rejectUnauthorized: false });
      assert.equal((await exchange(socket, 'GET', '/')).body, servername);
    }
  });

  test('an unknown host leads nowhere, and a private tunnel neither', async () => {
    for (const host of ['none.test', 'private-gost.test', 'private-sallyport.test'])
      assert.equal((await request(entrypoint, '/', { headers: { host } })).status, 502);
  });

  for (const from of names) {
    for (const to of names) {
      describe(`a visitor's client of ${from}'s at a connector of ${to}'s`, () => {
        test('by the id of the tunnel, by the public one, and at the entrypoint', async () => {
          for (const [at, id] of [
            ['handler', 'own'],
            ['handler', 'public'],
            ['entrypoint', 'own'],
          ] as const)
            await visitEcho(await enter(doorOf(from, `raw-${to}`, at, id)), 10_000);
        });

        test('a private tunnel only by its id', async () => {
          await visitEcho(await enter(doorOf(from, `private-${to}`, 'handler', 'own')), 10_000);
          await isRefused(doorOf(from, `private-${to}`, 'handler', 'public'));
        });

        test('a host that the tunnel does not have is refused', async () => {
          await isRefused(doorOf(from, `raw-${to}`, 'handler', 'own', 'none.test'));
        });

        test('an entrypoint leads to a private tunnel in no form, but for GOST', async () => {
          const door = doorOf(from, `private-${to}`, 'entrypoint', 'own');
          if (make === 'gost') await visitEcho(await enter(door), 10_000);
          else await isRefused(door);
        });
      });
    }
  }

  test('connectors of both makes share a tunnel, by their weights', async () => {
    const count = async (tunnel: string, visits: number) => {
      const served = { gost: 0, sallyport: 0 };
      for (let visit = 0; visit < visits; visit++) served[await servedBy(`${tunnel}.test`)] += 1;
      return served;
    };
    // That one of two gets none of forty happens less than once in a million million.
    const shared = await count('shared', 40);
    assert.ok(shared.gost > 0 && shared.sallyport > 0, JSON.stringify(shared));
    for (const name of names) assert.equal((await count(`only-${name}`, 20))[name], 20);
    // That the lighter of 1 to 9 gets more than half of forty, hardly more often.
    const weighed = await count('weighed', 40);
    assert.ok(weighed.sallyport > weighed.gost, JSON.stringify(weighed));
  });

  test('who has ended its direction and gone is gone for the server too', async () => {
    // Where it stands behind a GOST that is a matter of ten seconds, which began with this suite.
    await left.gone(names.length ** 2);
  });
}

/** A request over whatever connection the agent has. */
async function keptAlive(
  server: string,
  host: string,
  agent: http.Agent,
): Promise<{ body: string; port: number }> {
  const [hostname, port] = server.split(':') as [string, string];
  return new Promise((resolve, reject) => {
    const asking = http.get({ agent, hostname, port, path: '/page', headers: { host } }, (response) => {
      const { localPort } = response.socket;
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ body, port: localPort! }));
    });
    asking.on('error', reject).setTimeout(15_000, () => asking.destroy(new Error('no answer')));
  });
}

for (const make of names)
  describe(`the ways in to tunnels of a server of ${make}'s`, { skip: missingGost }, () => {
    serverSuite(make);
  });
