/* eslint-disable no-control-regex -- the bytes of the protocol are what is looked at */
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { createAuthority } from '@sallyport/plugin/testing';
import { formatSocks5Credentials, formatSocks5Request } from '../../wire/socks5.ts';
import { Cleanup, connectPeer, Peer, startOrigin } from '../../core/peer.fixture.ts';
import { socks5 } from './index.ts';
import { startHandler } from './scene.fixture.ts';
import type { TestServiceOptions } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const authority = createAuthority();
const tls = authority.issue({ names: ['proxy.test'] });
const auth: TestServiceOptions['auth'] = ({ username, password }) => ({
  ok: username !== '' && username === password,
  user: `id-${username}`,
});

const request = (host: string, port: number, command = 1) =>
  formatSocks5Request({ command, address: { host, port } }).toString('latin1');
const credentials = (username: string, password: string) =>
  formatSocks5Credentials({ username, password }).toString('latin1');
const granted = /^\x05\0\0\x01\x7f\0\0\x01../s;
const refused = (code: number) => `\x05${String.fromCharCode(code)}\0\x01\0\0\0\0\0\0`;

async function scene(options: TestServiceOptions = {}) {
  const origin = await startOrigin(cleanup);
  const service = await startHandler(cleanup, socks5.handler!, options);
  const client = await connectPeer(cleanup, service.port);
  return { origin, service, client };
}

/** TLS over the same connection, seen as a peer. */
async function secure({ socket }: Peer): Promise<Peer> {
  socket.removeAllListeners('data');
  const inner = connectTls({ socket, ca: authority.cert, servername: 'proxy.test' });
  await once(inner, 'secureConnect');
  return new Peer(inner);
}

describe('CONNECT', () => {
  test.each(['127.0.0.1', 'localhost', '::ffff:127.0.0.1'])(
    '%s, with what came with the request',
    async (host) => {
      const { origin, client, service } = await scene();
      // All in one packet: GOST loses what follows the request.
      client.say(`\x05\x01\0${request(host, origin.port)}early`);
      await client.take('\x05\0');
      await client.take(granted);
      const peer = await origin.next();
      await peer.take('early');
      peer.say('answer').socket.end();
      await client.take('answer');
      client.say('late').socket.end();
      await peer.take('late');
      const { error, traffic } = await service.event('closed');
      expect(error).toBeUndefined();
      expect(traffic.sent).toBeGreaterThan('answer'.length);
      const canonical = host === 'localhost' ? host : '127.0.0.1';
      expect(await service.event('served')).toMatchObject({
        what: `CONNECT ${canonical}:${String(origin.port)}`,
        status: 0,
        error: undefined,
      });
    },
  );

  test('a reset of the origin is one for the client', async () => {
    const { origin, client } = await scene();
    client.say(`\x05\x01\0${request('127.0.0.1', origin.port)}`);
    await client.take('\x05\0');
    await client.take(granted);
    (await origin.next()).socket.resetAndDestroy();
    await client.all();
    expect(client.error).toBe('ECONNRESET');
  });

  test('what cannot be done is said, and the connection ends', async () => {
    const bypass: TestServiceOptions['bypass'] = ({ target }) => target.startsWith('forbidden.example');
    const { service, origin } = await scene({ bypass });
    const told = async (bytes: string) => {
      const client = await connectPeer(cleanup, service.port);
      client.say(`\x05\x01\0${bytes}`);
      await client.take('\x05\0');
      const reply = await client.all();
      client.socket.end();
      return reply;
    };
    expect(await told(request('forbidden.example', 80))).toBe(refused(2));
    // Nothing listens there.
    expect(await told(request('127.0.0.1', 1))).toBe(refused(3));
    expect(await told(request('127.0.0.1', 0))).toBe(refused(1));
    expect(await told(request('0x7f000001', 80))).toBe(refused(1));
    expect(await told('\x05\x01\0\x05abcd')).toBe(refused(8));
    expect(await told('\x05\x01\0\x03\0\0\x50')).toBe(refused(1));
    expect(await told(request('127.0.0.1', 0, 2))).toBe(refused(2));
    expect(await told(request('127.0.0.1', 0, 0xf2))).toBe(refused(2));
    expect(await told(request('127.0.0.1', 5353, 0xf3))).toBe(refused(2));
    expect(await told(request('127.0.0.1', origin.port, 9))).toBe(refused(7));
    // Datagrams are served where the file says so.
    expect(await told(request('0.0.0.0', 0, 3))).toBe(refused(2));
    expect(await told(request('0.0.0.0', 0, 0xf3))).toBe(refused(2));
    expect(origin.peers).toHaveLength(0);
    const codes = service.events.flatMap((event) => (event.kind === 'served' ? [event.error?.code] : []));
    expect(codes.slice(0, 4)).toEqual(['forbidden', 'dialFailed', 'malformedRequest', 'malformedRequest']);
  });
});

describe('who the client is', () => {
  test('RFC 1929: the right password, and a wrong one', async () => {
    const { origin, client, service } = await scene({ auth });
    client.say(`\x05\x02\0\x02${credentials('ada', 'ada')}${request('127.0.0.1', origin.port)}`);
    await client.take('\x05\x02\x01\0');
    await client.take(granted);
    const other = await connectPeer(cleanup, service.port);
    other.say(`\x05\x01\x02${credentials('ada', 'wrong')}${request('127.0.0.1', origin.port)}`);
    expect(await other.all()).toBe('\x05\x02\x01\x01');
    other.socket.end();
    expect((await service.event('closed')).error?.code).toBe('wrongCredentials');
    expect(origin.peers).toHaveLength(1);
    client.socket.destroy();
  });

  test('an auther that fails is as good as a no, and so is what is no text', async () => {
    const { service, origin } = await scene({
      auth: () => {
        throw new Error('no answer');
      },
    });
    for (const bytes of [credentials('ada', 'ada'), '\x01\x01\xff\x01a', '\x02\x01a\x01a']) {
      const client = await connectPeer(cleanup, service.port);
      client.say(`\x05\x01\x02${bytes}${request('127.0.0.1', origin.port)}`);
      expect(await client.all()).toBe('\x05\x02\x01\x01');
      client.socket.end();
    }
    expect(origin.peers).toHaveLength(0);
  });

  test('without credentials nobody is asked, and without an auther they do not matter', async () => {
    const asked: string[] = [];
    const { client, service } = await scene({
      auth: ({ username }) => {
        asked.push(username);
        return { ok: true, user: '' };
      },
    });
    client.say('\x05\x02\0\x80');
    expect(await client.all()).toBe('\x05\xff');
    client.socket.end();
    expect((await service.event('closed')).error?.code).toBe('wrongCredentials');
    expect(asked).toEqual([]);

    const open = await scene();
    open.client.say(`\x05\x01\x02${credentials('any', 'body')}${request('127.0.0.1', open.origin.port)}`);
    await open.client.take('\x05\x02\x01\0');
    await open.client.take(granted);
  });
});

describe("GOST's TLS within SOCKS5", () => {
  test('without an auther, and with early payload', async () => {
    const { origin, client, service } = await scene({ tls });
    client.say('\x05\x02\0\x80');
    await client.take('\x05\x80');
    const inner = await secure(client);
    inner.say(`${request('127.0.0.1', origin.port)}early`);
    await inner.take(granted);
    const peer = await origin.next();
    await peer.take('early');
    peer.say('answer').socket.end();
    await inner.take('answer');
    inner.say('late').socket.end();
    await peer.take('late');
    expect((await service.event('closed')).error).toBeUndefined();
  });

  test('with an auther: chosen before a password in the clear', async () => {
    const { origin, client, service } = await scene({ tls, auth });
    client.say('\x05\x04\0\x02\x80\x82');
    await client.take('\x05\x82');
    const inner = await secure(client);
    inner.say(credentials('ada', 'ada'));
    await inner.take('\x01\0');
    inner.say(request('127.0.0.1', origin.port));
    await inner.take(granted);
    await origin.next();

    const other = await connectPeer(cleanup, service.port);
    other.say('\x05\x01\x82');
    await other.take('\x05\x82');
    const wrong = await secure(other);
    wrong.say(credentials('ada', 'eve'));
    expect(await wrong.all()).toBe('\x01\x01');
    wrong.socket.end();
    inner.socket.destroy();
  });

  test('not where the file says `notls`, nor without a certificate', async () => {
    for (const options of [{ tls, metadata: { notls: true } }, {}]) {
      const { client } = await scene(options);
      client.say('\x05\x02\x80\0');
      await client.take('\x05\0');
    }
  });

  test('what is no TLS ends the connection', async () => {
    const { client, service } = await scene({ tls });
    client.say('\x05\x01\x80');
    await client.take('\x05\x80');
    client.say(request('127.0.0.1', 80));
    await client.all();
    expect((await service.event('closed')).error).toMatchObject({ code: 'malformedRequest', at: 'client' });
  });
});

describe('whatever comes', () => {
  test.each([
    ['nothing', ''],
    ['a part of the offer', '\x05\x02\0'],
    ['no request', '\x05\x01\0'],
    ['a part of a request', '\x05\x01\0\x05\x01\0\x03'],
  ])('a client that says %s and then nothing is cut off', async (_, bytes) => {
    const { client, service } = await scene({ metadata: { readTimeoutMs: 50 } });
    client.say(bytes);
    expect(await client.all()).toMatch(/^$|^\x05\0$/);
    expect((await service.event('closed')).error?.code).toBe('handshakeTimeout');
  });

  test('the time that the auther takes is not the client’s', async () => {
    const { client, origin } = await scene({
      metadata: { readTimeoutMs: 200 },
      auth: () => new Promise((resolve) => setTimeout(resolve, 300, { ok: true, user: '' })),
    });
    client.say('\x05\x01\x02\x01\0\0');
    await client.take('\x05\x02\x01\0');
    client.say(request('127.0.0.1', origin.port));
    await client.take(granted);
  });

  test('another protocol ends the connection, without a byte', async () => {
    for (const text of ['GET / HTTP/1.1\r\n\r\n', '\x04\x01\0\x50\x7f\0\0\x01\0', '\x05\0']) {
      const { client, service } = await scene();
      client.say(text);
      expect(await client.all()).toBe('');
      expect((await service.event('closed')).error?.code).toBe('malformedRequest');
    }
  });

  test('garbage is answered or ends, and the service goes on', async () => {
    const { service, origin } = await scene({ auth, metadata: { udp: true } });
    const start = fc
      .constantFrom('', '\x05', '\x05\x01\x02', `\x05\x01\x02${credentials('a', 'a')}`)
      .map((text) => {
        const whole = text.endsWith('a') ? `${text}\x05\x01\0` : text;
        return Buffer.from(whole, 'latin1');
      });
    await fc.assert(
      fc.asyncProperty(start, fc.uint8Array({ maxLength: 40 }), async (begun, bytes) => {
        const client = await connectPeer(cleanup, service.port);
        client.socket.end(Buffer.concat([begun, bytes]));
        expect(await client.all()).toMatch(/^$|^\x05\xff$|^\x05\x02$|^\x05\x02\x01[\0\x01]/);
        client.socket.destroy();
      }),
      { numRuns: 80 },
    );
    const client = await connectPeer(cleanup, service.port);
    client.say(`\x05\x01\x02${credentials('ada', 'ada')}${request('127.0.0.1', origin.port)}`);
    await client.take('\x05\x02\x01\0');
    await client.take(granted);
  });
});
