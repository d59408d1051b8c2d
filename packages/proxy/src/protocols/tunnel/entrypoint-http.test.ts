import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer } from '../../core/peer.fixture.ts';
import type { TestOrigin, Peer } from '../../core/peer.fixture.ts';
import { elsewhere, get, here, ids, ok, startEntrypoint, visited } from './entrypoint.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A connector's stream answers the request that has come, and gives its head. */
async function answers(stream: Peer, body: string): Promise<string> {
  const head = await stream.head();
  stream.say(ok(body));
  return head;
}

async function answered(origin: TestOrigin, body: string): Promise<[string, Peer]> {
  const stream = await origin.next();
  return [await answers(stream, body), stream];
}

describe('each request of a connection', () => {
  test('goes to the tunnel of its own host, there and back', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test', '/1'));
    const [head] = await answered(scene.one, 'first');
    expect(head).toMatch(/^GET \/1 HTTP\/1\.1\r\nHost: one\.test\r\n/);
    await client.take('first');
    client.say(get('deep.in.two.test:8080', '/2'));
    const [second] = await answered(scene.two, 'second');
    expect(second).toMatch(/^GET \/2 HTTP\/1\.1\r\nHost: deep\.in\.two\.test:8080\r\n/);
    await client.take('second');
    client.say(get('ONE.test.', '/3'));
    await answered(scene.one, 'third');
    await client.take('third');
    // What another host leads to is another stream, though the tunnel is the same: its head names the host.
    client.say(get('also-one.test', '/4'));
    await answered(scene.one, 'fourth');
    await client.take('fourth');
    expect(visited(scene)).toEqual([
      'one tcp one.test:80',
      'two tcp deep.in.two.test:8080',
      'one tcp one.test:80',
      'one tcp also-one.test:80',
    ]);
    expect(scene.asked).toEqual(['one.test:80', 'deep.in.two.test:8080', 'one.test:80', 'also-one.test:80']);
    const source = { host: '127.0.0.1', port: client.socket.localPort };
    for (const { visit } of scene.visits) expect(visit).toMatchObject({ source, network: 'tcp' });
  });

  test('is asked of another connector where one goes without an answer, once, and only if it may be', async () => {
    const scene = await startEntrypoint(cleanup, { entrypoint: { keepAlive: false } });
    const leave = async () => {
      const stream = await scene.one.next();
      await stream.head();
      stream.socket.destroy();
    };
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test', '/1'));
    await leave();
    const [head] = await answered(scene.one, 'served');
    expect(head).toMatch(/^GET \/1 /);
    await client.take('served');
    client.say(get('one.test', '/2'));
    await leave();
    await leave();
    await client.take('502 Bad Gateway');
    const other = await connectPeer(cleanup, scene.proxy.port);
    other.say('POST /3 HTTP/1.1\r\nHost: one.test\r\nContent-Length: 0\r\n\r\n');
    await leave();
    await other.take('502 Bad Gateway');
    expect(scene.visits).toHaveLength(5);
  });

  test.each([true, false])(
    'a stream is used again for the same host only with keepAlive: %s',
    async (keepAlive) => {
      const scene = await startEntrypoint(cleanup, { entrypoint: { keepAlive } });
      const client = await connectPeer(cleanup, scene.proxy.port);
      client.say(get('one.test', '/1'));
      const [first, stream] = await answered(scene.one, 'one');
      await client.take('one');
      client.say(get('one.test', '/2'));
      if (keepAlive) await answers(stream, 'two');
      else await answered(scene.one, 'two');
      await client.take('two');
      expect(scene.one.peers).toHaveLength(keepAlive ? 1 : 2);
      expect(/\r\nConnection: close\r\n/.test(first)).toBe(!keepAlive);
      expect(scene.asked).toHaveLength(2);
    },
  );

  test('is refused without ending the connection, and nothing is learned of private tunnels', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    const refusal = async (host: string) => {
      client.say(get(host));
      const text = `${await client.head()}${await client.take(')\n')}`;
      return text.replaceAll(host, 'HOST').replace(/^(Content-Length: )\d+/m, '$1N');
    };
    const [none, hidden] = [await refusal('nobody.test'), await refusal('hidden.test')];
    expect(none).toMatch(/^HTTP\/1\.1 502 /);
    expect(hidden).toBe(none);
    const gone = await refusal('gone.test');
    expect(gone).toMatch(/^HTTP\/1\.1 503 /);
    // Whoever knows a tunnel's UUID can do more than visit it.
    expect(gone).not.toContain(ids.gone);
    client.say(get('one.test'));
    await answered(scene.one, 'still');
    await client.take('still');
    expect(visited(scene)).toEqual(['gone tcp gone.test:80', 'one tcp one.test:80']);
    const told = await scene.proxy.event('dialed', ({ error }) => error !== undefined);
    expect(told.error!.message).toContain(ids.gone);
  });

  test('of a pipeline is answered in its turn', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test', '/1') + get('x.two.test', '/2') + get('nobody.test') + get('one.test', '/3'));
    await answered(scene.one, 'AAA');
    await answered(scene.two, 'BBB');
    await answered(scene.one, 'CCC');
    const text = await client.take('CCC');
    expect([...text.matchAll(/HTTP\/1\.1 (\d+)|[A-C]{3}/g)].map(([all]) => all)).toEqual([
      'HTTP/1.1 200',
      'AAA',
      'HTTP/1.1 200',
      'BBB',
      'HTTP/1.1 502',
      'HTTP/1.1 200',
      'CCC',
    ]);
  });

  test.each([
    ['CONNECT one.test:443 HTTP/1.1\r\nHost: one.test:443\r\n\r\n', 501],
    ['GET / HTTP/1.0\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: one.test\r\nHost: hidden.test\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: 0x7f000001\r\n\r\n', 400],
    ['GET https://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n', 501],
    ['POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
  ])('%j is answered with %i', async (request, status) => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(request);
    expect(await client.head()).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
    expect(scene.visits).toEqual([]);
  });

  test('that names its host in a URL goes by that, and the tunnel gets the path', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(
      'GET http://one.test?x=1 HTTP/1.1\r\nHost: hidden.test\r\nProxy-Authorization: Basic eA==\r\n\r\n',
    );
    const [head] = await answered(scene.one, 'a');
    expect(head).toMatch(/^GET \/\?x=1 HTTP\/1\.1\r\nHost: one\.test\r\n/);
    expect(head).not.toContain('Proxy-');
    await client.take(/a$/);
  });
});

describe('the fields of GOST', () => {
  test('name the session and the node, and what speaks of one connection stays here', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(
      get(
        'one.test',
        '/',
        'Connection: keep-alive, Gost-Forwarded-Node, X-Mine',
        'X-Mine: 1',
        'X-Forwarded-For: 192.0.2.1',
        'Gost-Record: off',
        'Gost-Target: aGlkZGVuLnRlc3Q',
      ),
    );
    const [head] = await answered(scene.one, 'x');
    expect(head.split('\r\n').slice(1, -2)).toEqual([
      'Host: one.test',
      'X-Forwarded-For: 192.0.2.1',
      expect.stringMatching(/^Gost-Sid: \S+$/),
      `Gost-Forwarded-Node: ${here}`,
    ]);
  });

  test('a session that another node began keeps its id; nodes are listed', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test', '/', 'Gost-Sid: other', `gost-forwarded-node: x, ${elsewhere.toUpperCase()}`));
    const [head] = await answered(scene.one, 'x');
    expect(head).toContain('\r\nGost-Sid: other\r\n');
    expect(head).toContain(`\r\nGost-Forwarded-Node: ${elsewhere}, ${here}\r\n`);
    expect(head.match(/gost-forwarded-node/gi)).toHaveLength(1);
  });

  test.each([
    [`Gost-Forwarded-Node: ${here}`],
    [`Gost-Forwarded-Node: ${elsewhere}, ${here.toUpperCase()}`],
    [`Gost-Forwarded-Node: ${elsewhere}\r\nGost-Forwarded-Node:${here}`],
    [`Connection: gost-forwarded-node\r\nGost-Forwarded-Node: ${elsewhere} , ${here} `],
    [`Gost-Forwarded-Node: ${Array.from({ length: 8 }, () => elsewhere).join(',')}`],
  ])('%j has come back: 503', async (fields) => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test', '/', fields));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 503 /);
    await client.take(')\n');
    client.say(get('one.test'));
    await answered(scene.one, 'x');
    await client.take(/x$/);
    expect(scene.asked).toEqual(['one.test:80']);
    const { error } = await scene.proxy.event('served');
    expect(error?.code).toBe('loop');
  });

  test('a tunnel of another node is reached with the same request and the name of this one', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say('PUT /up HTTP/1.1\r\nHost: far.test\r\nContent-Length: 4\r\n\r\nbody');
    const stream = await scene.far.next();
    const head = await stream.head();
    expect(head).toMatch(/^PUT \/up HTTP\/1\.1\r\nHost: far\.test\r\n/);
    expect(head).toContain(`\r\nGost-Forwarded-Node: ${here}\r\n`);
    await stream.take('body');
    stream.say(ok('far'));
    await client.take('far');
    const { details, user } = await scene.proxy.event('served');
    expect(user).toBe(ids.far);
    expect(details).toMatchObject({
      node: here,
      redirect: elsewhere,
      http: { host: 'far.test:80', statusCode: 200 },
    });
    expect(scene.visits[0]!.visit.request).toBeUndefined();
  });
});

describe('what a record is made of', () => {
  test('each request counts as its tunnel, a refused one as nobody', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test', '/a?b', 'Authorization: Basic eA=='));
    await answered(scene.one, 'x');
    await client.take(/x$/);
    client.say(get('nobody.test'));
    await client.take(')\n');
    client.say(get('x.two.test'));
    await answered(scene.two, 'y');
    await client.take(/y$/);
    await scene.proxy.event('served', ({ user }) => user === ids.two);
    const served = scene.proxy.events.filter((event) => event.kind === 'served');
    expect(served).toMatchObject([
      {
        what: 'GET one.test:80',
        user: ids.one,
        status: 200,
        details: {
          node: here,
          http: { method: 'GET', uri: '/a?b', request: { header: { Authorization: ['***'] } } },
        },
      },
      { user: '', status: 502, error: { code: 'noRoute' }, details: { node: here } },
      { user: ids.two, status: 200 },
    ]);
    expect(served[0]!.details).not.toHaveProperty('redirect');
  });
});

describe('bodies and protocols', () => {
  test('a HEAD, an interim answer, and a body that waits for it', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say('HEAD / HTTP/1.1\r\nHost: one.test\r\n\r\n');
    const stream = await scene.one.next();
    await stream.head();
    stream.say('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n');
    expect(await client.head()).toContain('Content-Length: 10');
    client.say(
      'POST / HTTP/1.1\r\nHost: one.test\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    expect(await stream.head()).toContain('\r\nExpect: 100-continue\r\n');
    stream.say('HTTP/1.1 100 Continue\r\n\r\n');
    expect(await client.head()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    client.say('3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n');
    expect(await stream.head()).toMatch(/3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n$/);
    stream.say(ok('yes'));
    await client.take('yes');
  });

  test('a web socket is carried both ways until it ends', async () => {
    const scene = await startEntrypoint(cleanup, { entrypoint: { keepAlive: false } });
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test', '/ws', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: k'));
    const stream = await scene.one.next();
    const head = await stream.head();
    expect(head).toContain('\r\nUpgrade: websocket\r\n');
    expect(head).toContain('\r\nConnection: Upgrade\r\n');
    stream.say('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello');
    await client.take('hello');
    client.say('\x81\x02hi');
    await stream.take('\x81\x02hi');
    stream.say('bytes that are\r\nno HTTP');
    await client.take('no HTTP');
    stream.socket.end();
    client.socket.end();
    expect(await client.all()).toBe('');
    const { status, details } = await scene.proxy.event('served');
    expect({ status, details }).toMatchObject({ status: 101, details: { http: { statusCode: 101 } } });
  });

  test('an upgrade that nobody asked for is none', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test'));
    const stream = await scene.one.next();
    await stream.head();
    stream.say('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    expect(await client.head()).toMatch(/^HTTP\/1\.1 502 /);
  });

  test('large bodies pass in both directions at once', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    const chunk = 'x'.repeat(64 * 1024);
    const body = `${chunk.repeat(64)}END`;
    client.say(`POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: ${String(body.length)}\r\n\r\n`);
    const stream = await scene.one.next();
    await stream.head();
    stream.say(`HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n\r\n`);
    await client.head();
    client.say(body);
    stream.say(body);
    const got = await Promise.all([stream.take('END'), client.take('END')]);
    expect(got.map((one) => one === body)).toEqual([true, true]);
  });
});

describe('what breaks', () => {
  test('a stream that is reset before an answer is 502, one that is reset in the middle ends the connection', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say('POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 1\r\n\r\nx');
    const first = await scene.one.next();
    await first.head();
    first.socket.resetAndDestroy();
    expect(await client.head()).toMatch(/^HTTP\/1\.1 502 /);
    await client.take(')\n');
    client.say(get('one.test'));
    const second = await scene.one.next();
    await second.head();
    second.say('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
    await client.take('half');
    second.socket.resetAndDestroy();
    await client.all();
    expect(client.text).toBe('');
  });

  test('a tunnel that does not answer in time is 504', async () => {
    const scene = await startEntrypoint(cleanup, { entrypoint: { readTimeoutMs: 50 } });
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test'));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 504 /);
  });

  test('a kept stream that has gone is replaced', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test', '/1'));
    const [, stream] = await answered(scene.one, 'one');
    await client.take('one');
    stream.socket.end();
    client.say(get('one.test', '/2'));
    await answered(scene.one, 'two');
    await client.take('two');
  });

  test('a visitor that leaves takes the stream with it', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test'));
    const stream = await scene.one.next();
    await stream.head();
    client.socket.resetAndDestroy();
    await stream.all();
    await scene.proxy.event('closed');
    expect(scene.proxy.service.open).toBe(0);
  });

  test('a head that trickles is 408', async () => {
    const scene = await startEntrypoint(cleanup, { entrypoint: { readTimeoutMs: 60 } });
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say('GET / HTTP/1.1\r\nHost: one');
    expect(await client.head()).toMatch(/^HTTP\/1\.1 408 /);
  });
});
