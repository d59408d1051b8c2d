import { describe, expect, test } from 'vitest';
import type { Conn, End } from '../conn.ts';
import { createDatagramPeers, byAddress } from '../datagram-peers.ts';
import { ProxyError } from '../errors.ts';
import { memoryConnPair } from '../memory-conn.fixture.ts';
import type { ServeVisitor } from '../protocol.ts';
import { relay, relayDatagrams } from '../relay.ts';
import type { Session } from '../session.ts';
import { bindAddress } from './bind-address.ts';
import { serveDatagramVisitors } from './datagram-visitors.ts';
import { serveStreamVisitors } from './stream-visitors.ts';

const address = { host: '127.0.0.1', port: 2222 };

/** A client's session whose sockets are memory: whoever comes is given to `come`. */
function scene() {
  let each: ServeVisitor | undefined;
  let interrupt: (() => void) | undefined;
  const counted = { dropped: 0, closed: 0, dropsOfVisitors: 0 };
  const visitor = {
    network: 'tcp',
    user: '',
    limit: () => Promise.resolve(),
    note: () => undefined,
    async relay(client: End, upstream: End) {
      if (client.kind === 'stream') return relay(client, upstream as Conn);
      const traffic = { received: 0, sent: 0, dropped: 0 };
      if (upstream.kind === 'datagrams') await relayDatagrams(client, upstream, { traffic });
      counted.dropsOfVisitors += traffic.dropped;
      return undefined;
    },
  } as unknown as Session;
  const session = {
    bind: (_request, serve) => {
      each = serve;
      return Promise.resolve({
        address,
        close: () => {
          each = undefined;
          counted.closed++;
          return Promise.resolve();
        },
      });
    },
    onStopping: (stop) => {
      interrupt = stop;
      return () => (interrupt = undefined);
    },
    countDropped: () => counted.dropped++,
  } as Partial<Session> as Session;
  return {
    session,
    counted,
    stop: () => interrupt?.(),
    /** False: nobody listens. */
    come(end: End): boolean {
      if (each === undefined) return false;
      each(end, visitor).catch(() => {
        if (end.kind === 'stream') end.reset();
      });
      return true;
    },
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('visitors in streams', () => {
  const flooded = async () => {
    const all = scene();
    const [conn, client] = memoryConnPair();
    const over = serveStreamVisitors(conn, all.session, {
      address,
      mux: { keepAliveMs: 0 },
      granted: () => Promise.resolve(),
      headOf: () => Buffer.alloc(20),
    });
    await turn();
    return { ...all, client, over };
  };

  test('visitors that come and go at a client which does not read cost it its connection', async () => {
    const { come, client, over, counted } = await flooded();
    let came = 0;
    for (; came < 100_000; came++) {
      const [end, visitor] = memoryConnPair();
      if (!come(end)) break;
      await turn();
      visitor.reset();
    }
    expect(await over).toMatchObject({ code: 'tooManyRequests', at: 'client' });
    expect(client.isReset).toBe(true);
    expect(counted.closed).toBeGreaterThan(0);
    // 512 KiB of frames, of which each visitor costs three.
    expect(came).toBeLessThan(30_000);
  }, 60_000);

  test('visitors that fill a client which does not read are turned away when there are too many', async () => {
    const { come, client, over } = await flooded();
    const visitors: Conn[] = [];
    for (let came = 0; came < 4200; came++) {
      const [end, visitor] = memoryConnPair();
      come(end);
      void visitor.write(Buffer.alloc(1000));
      visitors.push(visitor);
      await turn();
    }
    const isOver = await Promise.all(
      visitors.map((visitor) => Promise.race([visitor.closed.then(() => true), turn().then(() => false)])),
    );
    expect(isOver.filter((one) => !one)).toHaveLength(4096);
    client.reset();
    await over;
    await Promise.all(visitors.map(({ closed }) => closed));
  }, 60_000);

  test('who comes before the client has been told waits, and goes where it was not', async () => {
    const { session, counted, come } = scene();
    const [conn, client] = memoryConnPair();
    let grant!: () => void;
    let refuse!: (error: Error) => void;
    const granted = new Promise<void>((resolve, reject) => {
      grant = resolve;
      refuse = reject;
    });
    const options = { address, mux: {}, granted: () => granted, headOf: () => Buffer.from('head') };
    const over = serveStreamVisitors(conn, session, options);
    await turn();
    const [end, visitor] = memoryConnPair();
    expect(come(end)).toBe(true);
    await turn();
    expect(client.bufferedBytes).toBe(0);
    refuse(new ProxyError('clientClosed', 'client', 'it left'));
    await expect(over).rejects.toMatchObject({ code: 'clientClosed' });
    await visitor.closed;
    expect(counted.closed).toBe(1);
    grant();
  });

  test('a session that is stopped while nobody is there ends at once', async () => {
    const { session, stop, come } = scene();
    const [conn, client] = memoryConnPair();
    const over = serveStreamVisitors(conn, session, {
      address,
      mux: {},
      granted: () => Promise.resolve(),
      headOf: () => undefined,
    });
    await turn();
    stop();
    while ((await client.read()) !== null);
    await client.end();
    expect(await over).toBeUndefined();
    expect(come(memoryConnPair()[0])).toBe(false);
  });
});

describe('visitors in frames', () => {
  /** A peer of a socket: what comes from it is said by `say`. */
  function peer(port: number) {
    const got: string[] = [];
    const peers = createDatagramPeers({
      ...byAddress,
      local: address,
      send: (data, _to: typeof address) => got.push(Buffer.from(data).toString()) > 0,
      dropped: () => undefined,
    });
    const from = { host: '192.0.2.1', port };
    const end = peers.open(from);
    return {
      end,
      got,
      say: (data: Buffer) => {
        peers.take(data, from);
      },
    };
  }

  test('what a client that does not read cannot be told is dropped, and counts', async () => {
    const { session, counted, come } = scene();
    const [conn, client] = memoryConnPair();
    const over = serveDatagramVisitors(conn, session, { address, granted: () => Promise.resolve() });
    await turn();
    const one = peer(1);
    come(one.end);
    await turn();
    for (let count = 0; count < 100; count++) one.say(Buffer.alloc(50_000));
    expect(client.bufferedBytes).toBeLessThan(700_000);
    client.reset();
    await over;
    await turn();
    expect(counted.dropsOfVisitors).toBeGreaterThan(80);
  });

  test('a service that stops takes nobody new, and ends with the last', async () => {
    const { session, come, stop, counted } = scene();
    const [conn, client] = memoryConnPair();
    const over = serveDatagramVisitors(conn, session, { address, granted: () => Promise.resolve() });
    await turn();
    come(peer(1).end);
    stop();
    expect(counted.closed).toBe(1);
    while ((await client.read()) !== null);
    await client.end();
    expect(await over).toBeUndefined();
  });
});

test.each([
  ['', ''],
  ['0.0.0.0', ''],
  ['::', ''],
  ['127.0.0.1', '127.0.0.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:DB8:0::1', '2001:db8::1'],
  ['Localhost.', 'localhost'],
])('%j is listened at as %j', (host, wanted) => {
  expect(bindAddress({ host, port: 0 })).toEqual({ host: wanted, port: 0 });
});

test.each(['0.0.0.0::2222', '127.2', '0x7f000001', 'a b', 'fe80::1%eth0', '/run/socket'])(
  '%j is no address to listen at',
  (host) => {
    expect(() => bindAddress({ host, port: 1 })).toThrow(ProxyError);
  },
);
