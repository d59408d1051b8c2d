import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { ProxyError } from '../../core/errors.ts';
import { formatSocks4Request } from '../../wire/socks4.ts';
import { Cleanup, connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import { directWay, startHandler, testContext } from '../socks5/scene.fixture.ts';
import type { TestServiceOptions } from '../socks5/scene.fixture.ts';
import { socks4 } from './index.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const request = (port: number, userId = '', host = '127.0.0.1', command = 1) =>
  formatSocks4Request({ command, address: { host, port }, userId }).toString('latin1');
const granted = '\x00\x5a\0\0\0\0\0\0';
const refused = (code: number) => `\x00${String.fromCharCode(code)}\0\0\0\0\0\0`;

async function scene(options: TestServiceOptions = {}) {
  const origin = await startOrigin(cleanup);
  const service = await startHandler(cleanup, socks4.handler!, options);
  const client = await connectPeer(cleanup, service.port);
  return { origin, service, client };
}

describe('a client of SOCKS4', () => {
  test.each(['127.0.0.1', 'localhost'])('gets a tunnel to %s, with what it sent early', async (host) => {
    const { origin, client, service } = await scene();
    client.say(`${request(origin.port, 'ada', host)}early`);
    await client.take(granted);
    const peer = await origin.next();
    await peer.take('early');
    peer.say('answer');
    await client.take('answer');
    // An upload goes on after the origin's FIN.
    peer.socket.end();
    await client.all();
    client.say('late').socket.end();
    await peer.take('late');
    const closed = await service.event('closed');
    expect(closed.error).toBeUndefined();
    const { what, status, error } = await service.event('served');
    expect({ what, status, error }).toEqual({
      what: `CONNECT ${host}:${String(origin.port)}`,
      status: 90,
      error: undefined,
    });
  });

  test('is asked for by its user id', async () => {
    const asked: string[] = [];
    const auth: TestServiceOptions['auth'] = ({ username, password }) => {
      asked.push(`${username}:${password}`);
      return { ok: username === 'ada', user: 'id-ada' };
    };
    const { origin, client, service } = await scene({ auth });
    client.say(request(origin.port, 'eve'));
    expect(await client.all()).toBe(refused(93));
    const { user, error } = await service.event('served');
    expect([user, error?.code]).toEqual(['', 'wrongCredentials']);
    const other = await connectPeer(cleanup, service.port);
    other.say(request(origin.port, 'ada'));
    await other.take(granted);
    expect(asked).toEqual(['eve:', 'ada:']);
  });

  test('is told what went wrong, and the connection ends', async () => {
    const bypass: TestServiceOptions['bypass'] = ({ target }) => target.startsWith('forbidden.example');
    const { origin, service } = await scene({ bypass });
    const told = async (bytes: string) => {
      const client = await connectPeer(cleanup, service.port);
      client.say(bytes);
      const reply = await client.all();
      client.socket.end();
      return reply;
    };
    expect(await told(request(80, '', 'forbidden.example'))).toBe(refused(92));
    expect(await told(request(origin.port, '', '127.0.0.1', 2))).toBe(refused(91));
    expect(await told(request(0))).toBe(refused(91));
    expect(await told(request(80, '', '0x7f000001'))).toBe(refused(91));
    // Nothing listens there.
    expect(await told(request(1))).toBe(refused(91));
    expect(origin.peers).toHaveLength(0);
  });

  test('that cannot be asked about is not let in', async () => {
    const { client, origin } = await scene({
      auth: () => {
        throw new Error('no answer');
      },
    });
    client.say(request(origin.port, 'ada'));
    expect(await client.all()).toMatch(/^\0[\x5b\x5d]\0{6}$/);
    expect(origin.peers).toHaveLength(0);
  });

  test('that takes too long is cut off', async () => {
    const { client, service } = await scene({ metadata: { readTimeoutMs: 50 } });
    client.say('\x04\x01');
    expect(await client.all()).toBe('');
    expect((await service.event('closed')).error?.code).toBe('handshakeTimeout');
  });

  test('may send anything', async () => {
    const { service } = await scene();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), fc.boolean(), async (bytes, begun) => {
        const client = await connectPeer(cleanup, service.port);
        client.socket.end(Buffer.concat([begun ? Buffer.from([4, 3]) : Buffer.alloc(0), bytes]));
        expect(await client.all()).toMatch(/^$|^\0[\x5b\x5d]\0{6}$/);
        client.socket.destroy();
      }),
      { numRuns: 60 },
    );
  });
});

describe('a node of SOCKS4', () => {
  const connect = async (port: number, host = '127.0.0.1', target = 80, metadata = {}) => {
    const node = { host: '127.0.0.1', port };
    const conn = await directWay.dial(node, testContext());
    cleanup.add(conn, () => {
      conn.reset();
    });
    const options = { metadata, auth: { username: 'ada', password: '' }, node };
    return socks4.connector!.connect(conn, { host, port: target }, options, testContext());
  };
  const failure = (connecting: Promise<unknown>): Promise<ProxyError> =>
    connecting.then(
      () => {
        throw new Error('it connected');
      },
      (error: unknown) => error as ProxyError,
    );

  test('is asked by our own handler', async () => {
    const { origin, service } = await scene();
    for (const host of ['127.0.0.1', 'localhost']) {
      const conn = await connect(service.port, host, origin.port);
      await conn.write(Buffer.from('hello'));
      const peer = await origin.next();
      await peer.take('hello');
      peer.say('there');
      expect((await conn.read())?.toString()).toBe('there');
      conn.reset();
    }
  });

  test('is asked for the name, or for its address', async () => {
    const node = await startOrigin(cleanup);
    for (const [metadata, expected] of [
      [{}, '\x04\x01\0\x50\0\0\0\x01ada\0localhost\0'],
      [{ disable4a: true }, '\x04\x01\0\x50\x7f\0\0\x01ada\0'],
    ] as const) {
      const connecting = connect(node.port, 'localhost', 80, metadata);
      const peer = await node.next();
      await peer.take(expected);
      // What comes with the answer is the target's.
      peer.say(`${granted}welcome`);
      expect((await (await connecting).read())?.toString()).toBe('welcome');
    }
  });

  test.each([
    [refused(91), 'dialFailed'],
    [refused(92), 'upstreamRefused'],
    [refused(93), 'upstreamRefused'],
    ['\x04\x5a', 'badUpstreamReply'],
    ['HTTP/1.1 400', 'badUpstreamReply'],
  ])('answers %j', async (answer, code) => {
    const node = await startOrigin(cleanup);
    const failing = failure(connect(node.port));
    const peer = await node.next();
    peer.say(answer);
    expect(await failing).toMatchObject({ code, at: 'upstream', retryable: true });
    await peer.all();
  });

  test('hangs up, or is asked for what it cannot be asked for', async () => {
    const node = await startOrigin(cleanup);
    const failing = failure(connect(node.port));
    (await node.next()).say('\0\x5a').socket.end();
    expect(await failing).toMatchObject({ code: 'upstreamClosed', retryable: true });
    expect(await failure(connect(node.port, '2001:db8::1'))).toMatchObject({
      code: 'unsupported',
      at: 'self',
    });
  });

  test('is not waited for by nobody', async () => {
    const node = await startOrigin(cleanup);
    const leaving = new AbortController();
    const conn = await directWay.dial({ host: '127.0.0.1', port: node.port }, testContext());
    const options = { metadata: {}, node: conn.remote };
    const failing = failure(
      socks4.connector!.connect(conn, { host: 'a.example', port: 80 }, options, testContext(leaving.signal)),
    );
    await (await node.next()).take('a.example\0');
    leaving.abort();
    expect(await failing).toMatchObject({ code: 'clientClosed' });
    await conn.closed;
  });
});
