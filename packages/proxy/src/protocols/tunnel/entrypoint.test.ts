import fc from 'fast-check';
import http from 'node:http';
import net from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer } from '../../core/peer.fixture.ts';
import type { Peer } from '../../core/peer.fixture.ts';
import type { TrafficLimits } from '../../core/traffic-limits.ts';
import { formatRelayRequest } from '../../wire/relay.ts';
import { nearly } from '../../wire/splits.fixture.ts';
import { clientHello, get, ids, ok, startEntrypoint } from './entrypoint.fixture.ts';
import type { EntrypointScene } from './entrypoint.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** Every stream of the connectors answers every request. */
function answering({ one, two, hidden, far }: EntrypointScene): void {
  for (const origin of [one, two, hidden, far]) {
    void (async () => {
      for (;;) {
        const stream = await origin.next();
        void (async () => {
          for (;;) {
            await stream.head();
            stream.say(ok('answer'));
          }
        })().catch(() => stream.socket.destroy());
      }
    })();
  }
}

describe('the first bytes', () => {
  test('are waited for so long, and no longer', async () => {
    const scene = await startEntrypoint(cleanup, { entrypoint: { readTimeoutMs: 40 } });
    const client = await connectPeer(cleanup, scene.proxy.port);
    expect(await client.all()).toBe('');
    expect((await scene.proxy.event('closed')).error?.code).toBe('handshakeTimeout');
  });

  test('need not come', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.socket.end();
    expect(await client.all()).toBe('');
    expect((await scene.proxy.event('closed')).error).toBeUndefined();
  });

  test('are served by a service that stops where they come at once, and not waited for', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await connectPeer(cleanup, scene.proxy.port);
    await scene.proxy.event('opened');
    const quick = await connectPeer(cleanup, scene.proxy.port);
    await scene.proxy.event(
      'opened',
      () => scene.proxy.events.filter(({ kind }) => kind === 'opened').length === 2,
    );
    const stopped = scene.proxy.service.stop();
    quick.socket.end(get('unknown.test'));
    expect(await quick.all()).toMatch(/^HTTP\/1\.1 502 /);
    expect(client.socket.closed).toBe(false);
    await client.all();
    await stopped;
  });

  test('whatever they are, the visitor is answered or the connection ends, and nothing stays', async () => {
    const scene = await startEntrypoint(cleanup);
    answering(scene);
    const relay = formatRelayRequest({
      command: 1,
      flags: 0,
      features: [
        { type: 'addr', address: { host: '192.0.2.1', port: 1 } },
        { type: 'addr', address: { host: 'one.test', port: 80 } },
        { type: 'tunnel', id: ids.one, flags: 0, weight: 0 },
      ],
    });
    const samples = [
      Buffer.from(get('one.test', '/', 'Content-Length: 3') + 'abc' + get('x.two.test')),
      Buffer.from(
        'POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
      ),
      clientHello('one.test'),
      relay,
    ];
    // A stream that has got something which is no request waits for more; its end comes through.
    const ends = setInterval(() => {
      for (const { socket } of [...scene.one.peers, ...scene.two.peers]) {
        if (socket.readableEnded && !socket.writableEnded) socket.end();
      }
    }, 1);
    cleanup.add(ends, clearInterval);
    await fc.assert(
      fc.asyncProperty(nearly(samples), async (bytes) => {
        const client = await connectPeer(cleanup, scene.proxy.port);
        // Half-closed at once: what is not whole by then never will be.
        client.socket.end(bytes);
        await new Promise((resolve) => client.socket.once('close', resolve));
      }),
      { numRuns: 200 },
    );
    await scene.proxy.service.stop();
  });
});

describe('the service’s own', () => {
  test('admission', async () => {
    const scene = await startEntrypoint(cleanup, { admission: { admit: () => false } });
    const socket = net.connect(scene.proxy.port, '127.0.0.1').on('error', () => undefined);
    socket.write(get('one.test'));
    await new Promise((resolve) => socket.once('close', resolve));
    expect(scene.asked).toEqual([]);
  });

  test('bypass, with the tunnel as the client, for each request, used again or not', async () => {
    const asked: unknown[] = [];
    const bypass = {
      bypass(ask: { target: string; user: string; path: string }) {
        asked.push([ask.target, ask.user, ask.path]);
        return ask.path === '/no';
      },
    };
    const scene = await startEntrypoint(cleanup, { bypass });
    answering(scene);
    const client = await connectPeer(cleanup, scene.proxy.port);
    for (const path of ['/a', '/b']) {
      client.say(get('one.test', path));
      await client.take('answer');
    }
    client.say(get('one.test', '/no'));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 403 /);
    expect(asked).toEqual([
      ['one.test:80', ids.one, '/a'],
      ['one.test:80', ids.one, '/b'],
      ['one.test:80', ids.one, '/no'],
    ]);
    expect(scene.one.peers).toHaveLength(1);
  });

  test('rate, for hosts without a tunnel as well', async () => {
    let left = 3;
    const scene = await startEntrypoint(cleanup, { rate: { allow: () => left-- > 0 } });
    answering(scene);
    const client = await connectPeer(cleanup, scene.proxy.port);
    const statuses: string[] = [];
    for (const host of ['one.test', 'nobody.test', 'one.test', 'one.test', 'nobody.test']) {
      client.say(get(host));
      statuses.push((await client.head()).slice(9, 12));
      await client.take(/answer|\)\n/);
    }
    expect(statuses).toEqual(['200', '502', '200', '429', '429']);
  });

  test('limits, those of the tunnel, whatever comes after what', async () => {
    const held: string[] = [];
    const limits = {
      attach({ user }: { user: string }) {
        held.push(user);
        return Promise.resolve({ detach: () => void held.splice(held.indexOf(user), 1) });
      },
    } as unknown as TrafficLimits;
    const scene = await startEntrypoint(cleanup, { limits });
    answering(scene);
    const client = await connectPeer(cleanup, scene.proxy.port);
    const during = async (host: string) => {
      client.say(get(host));
      await client.take(/answer|\)\n/);
      return [...held];
    };
    expect(await during('one.test')).toEqual([ids.one]);
    expect(await during('one.test')).toEqual([ids.one]);
    expect(await during('x.two.test')).toEqual([ids.two]);
    await during('gone.test');
    expect(await during('x.two.test')).toEqual([ids.two]);
    client.socket.destroy();
    await scene.proxy.event('closed');
    expect(held).toEqual([]);
  });

  test('retries and deadline of a dial', async () => {
    const scene = await startEntrypoint(cleanup, {
      dialTimeoutMs: 30,
      tunnels: {
        visit: (_id, _visit, { signal }) =>
          new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(new Error('given up')));
          }),
      },
    });
    const client = await connectPeer(cleanup, scene.proxy.port);
    client.say(get('one.test'));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 504 /);
  });
});

test('a hundred visitors at once, each with several requests for two tunnels', async () => {
  const scene = await startEntrypoint(cleanup);
  answering(scene);
  const visitor = async (index: number) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let request = 0; request < 4; request++) {
      const host = (index + request) % 2 === 0 ? 'one.test' : 'x.two.test';
      const asked = http.get({ port: scene.proxy.port, host: '127.0.0.1', agent, headers: { host } });
      const [response] = (await once(asked, 'response')) as [http.IncomingMessage];
      expect(response.statusCode).toBe(200);
      response.resume();
      await once(response, 'end');
    }
    agent.destroy();
  };
  await Promise.all(Array.from({ length: 100 }, (_, index) => visitor(index)));
  expect(scene.visits).toHaveLength(400);
  await Promise.all([...scene.one.peers, ...scene.two.peers].map((stream: Peer) => stream.all()));
});
