/* eslint-disable no-control-regex -- the bytes of the protocol are what is looked at */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { ProxyError } from '../../core/errors.ts';
import { Cleanup, connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import {
  answer,
  asks,
  auth,
  connects,
  connectsUdp,
  forwarderTo,
  ok,
  scene,
  startRelay,
  userAuth,
} from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const any = { host: '0.0.0.0', port: 0 };
const anyAddress = { type: 'addr', address: any } as const;
const network = (which: keyof typeof relayNetworks) =>
  ({ type: 'network', network: relayNetworks[which] }) as const;

describe('CONNECT', () => {
  test.each(['127.0.0.1', 'localhost', '::ffff:127.0.0.1'])(
    '%s, with what came with the request',
    async (host) => {
      const { origin, client, service } = await scene(cleanup);
      client.say(`${connects(host, origin.port)}early`);
      const peer = await origin.next();
      await peer.take('early');
      peer.say('answer').socket.end();
      await client.take(`${ok}answer`);
      client.say('late').socket.end();
      await peer.take('late');
      const { error, traffic } = await service.event('closed');
      expect(error).toBeUndefined();
      expect(traffic.sent).toBe(ok.length + 'answer'.length);
      const canonical = host === 'localhost' ? host : '127.0.0.1';
      expect(await service.event('served')).toMatchObject({
        what: `CONNECT ${canonical}:${String(origin.port)}`,
        status: 0,
        error: undefined,
      });
    },
  );

  test('0 is the same, and what is not known says nothing', async () => {
    const { origin, client } = await scene(cleanup);
    client.say(
      asks({
        command: 0,
        flags: 0x70,
        features: [
          { type: 'unknown', code: 200, data: Buffer.from('later') },
          { type: 'metadata', pairs: [['a', 'b']] },
          network('tcp'),
          { type: 'addr', address: { host: '127.0.0.1', port: origin.port } },
        ],
      }),
    );
    (await origin.next()).say('hello');
    await client.take(`${ok}hello`);
  });

  // GOST waits for the target to speak, or for the client, for ever.
  test.each([{}, { nodelay: true }])('nobody has to speak first (%j)', async (metadata) => {
    const { origin, client } = await scene(cleanup, { metadata });
    client.say(connects('127.0.0.1', origin.port));
    await client.take(ok);
    const peer = await origin.next();
    client.say('one');
    await peer.take('one');
    peer.say('two');
    await client.take('two');
  });

  test('a reset of the origin is one for the client', async () => {
    const { origin, client } = await scene(cleanup);
    client.say(connects('127.0.0.1', origin.port));
    await client.take(ok);
    (await origin.next()).socket.resetAndDestroy();
    await client.all();
    expect(client.error).toBe('ECONNRESET');
  });

  test('what cannot be done is said, and the connection ends', async () => {
    const { service, origin } = await scene(cleanup, {
      bypass: { bypass: ({ target }) => target.startsWith('forbidden.example') },
    });
    const told = async (bytes: string) => {
      const client = await connectPeer(cleanup, service.port);
      client.say(bytes);
      const said = await client.all();
      client.socket.end();
      return said;
    };
    const address = { type: 'addr', address: { host: '127.0.0.1', port: origin.port } } as const;
    expect(await told(connects('forbidden.example', 80))).toBe(answer(3));
    expect(await told(connectsUdp({ host: 'forbidden.example', port: 53 }))).toBe(answer(3));
    // Nothing listens there.
    expect(await told(connects('127.0.0.1', 1))).toBe(answer(6));
    expect(await told(connects('127.0.0.1', 0))).toBe(answer(1));
    expect(await told(connects('0x7f000001', 80))).toBe(answer(1));
    expect(await told(asks({}))).toBe(answer(1));
    expect(await told(asks({ features: [address, address] }))).toBe(answer(1));
    expect(await told(asks({ flags: 0x80, features: [network('tcp'), address] }))).toBe(answer(1));
    expect(await told(asks({ command: 9, features: [address] }))).toBe(answer(1));
    const tunnel = { type: 'tunnel', id: crypto.randomUUID(), flags: 0, weight: 0 } as const;
    expect(await told(asks({ features: [address, tunnel] }))).toBe(answer(1));
    // A kind of address that nobody has, and a feature that is cut off.
    expect(await told('\x01\x01\0\x0a\x02\0\x07\x02\x7f\0\0\x01\0\x50')).toBe(answer(1));
    expect(await told('\x01\x01\0\x02\x02\0')).toBe(answer(1));
    for (const other of ['unix', 'serial', 'ip'] as const) {
      expect(await told(asks({ features: [network(other), address] }))).toBe(answer(5));
    }
    // BIND, and datagrams to any peer, which GOST asks for by it.
    expect(await told(asks({ command: 2, features: [address] }))).toBe(answer(3));
    expect(await told(connectsUdp(any, 2))).toBe(answer(3));
    expect(await told(asks({ command: 3, features: [anyAddress] }))).toBe(answer(3));
    expect(origin.peers).toHaveLength(0);
    const codes = service.events.flatMap((event) => (event.kind === 'served' ? [event.error?.code] : []));
    expect(codes.slice(0, 4)).toEqual(['forbidden', 'forbidden', 'dialFailed', 'malformedRequest']);
  });

  test('a target that does not answer in time, and a rule that cannot be asked', async () => {
    const silent: TestParts['direct'] = {
      dial: (_to, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('aborted')));
        }),
      close: () => Promise.resolve(),
    };
    const slow = await scene(cleanup, { direct: silent, dialTimeoutMs: 20 });
    slow.client.say(connects('127.0.0.1', 80));
    expect(await slow.client.all()).toBe(answer(4));
    const bypass = () => {
      throw new Error('no answer');
    };
    const deaf = await scene(cleanup, { bypass: { bypass } });
    deaf.client.say(connects('127.0.0.1', 80));
    expect(await deaf.client.all()).toBe(answer(3));
    const noWay = { name: 'none', close: () => Promise.resolve() };
    const route = () => Promise.reject(new ProxyError('noRoute', 'self', 'no node'));
    const lost = await scene(cleanup, { chain: { ...noWay, route } });
    lost.client.say(connects('127.0.0.1', 80));
    expect(await lost.client.all()).toBe(answer(5));
  });
});

describe('who the client is', () => {
  test('the right password, a wrong one, and none', async () => {
    const { origin, client, service } = await scene(cleanup, { auth });
    client.say(connects('127.0.0.1', origin.port, userAuth('ada', 'ada')));
    await client.take(ok);
    const peer = await origin.next();
    for (const features of [[userAuth('ada', 'eve')], [userAuth('', '')], []]) {
      const other = await connectPeer(cleanup, service.port);
      other.say(connects('127.0.0.1', origin.port, ...features));
      expect(await other.all()).toBe(answer(2));
      other.socket.end();
    }
    const { error, status } = await service.event('served');
    expect([error?.code, status]).toEqual(['wrongCredentials', 2]);
    expect(origin.peers).toHaveLength(1);
    peer.socket.end();
    client.socket.end();
    const { user } = await service.event('served', (served) => served.status === 0);
    expect(user).toBe('id-ada');
  });

  test('who is not known learns nothing of what is served', async () => {
    const { client } = await scene(cleanup, { auth });
    client.say(asks({ command: 9 }));
    expect(await client.all()).toBe(answer(2));
  });

  test('an auther that fails is as good as a no', async () => {
    const authenticate = () => {
      throw new Error('no answer');
    };
    const { client, origin } = await scene(cleanup, { auth: { authenticate } });
    client.say(connects('127.0.0.1', origin.port, userAuth('ada', 'ada')));
    expect(await client.all()).toBe(answer(2));
    expect(origin.peers).toHaveLength(0);
  });

  test('nobody says it twice', async () => {
    const { client, origin } = await scene(cleanup, { auth });
    client.say(connects('127.0.0.1', origin.port, userAuth('eve', 'x'), userAuth('ada', 'ada')));
    expect(await client.all()).toBe(answer(1));
  });
});

describe('with a forwarder', () => {
  test('it goes to its node, whatever the client asks for', async () => {
    const [node, other] = [await startOrigin(cleanup), await startOrigin(cleanup)];
    const service = await startRelay(cleanup, { forwarder: forwarderTo(node.port) });
    for (const request of [asks({}), connects('127.0.0.1', other.port)]) {
      const client = await connectPeer(cleanup, service.port);
      client.say(`${request}early`);
      const peer = await node.next();
      await peer.take('early');
      peer.say('answer').socket.end();
      expect(await client.all()).toBe(`${ok}answer`);
      client.socket.end();
    }
    expect(other.peers).toHaveLength(0);
    const served = await service.event('served');
    expect(served.what).toBe(`forward node-0@127.0.0.1:${String(node.port)}`);
    expect(served.details).toEqual({ node: 'node-0' });
  });

  test('who may use it is asked all the same', async () => {
    const node = await startOrigin(cleanup);
    const service = await startRelay(cleanup, { auth, forwarder: forwarderTo(node.port) });
    const client = await connectPeer(cleanup, service.port);
    client.say(asks({}));
    expect(await client.all()).toBe(answer(2));
    expect(node.peers).toHaveLength(0);
  });

  test('a node that cannot be reached, no node, and another command', async () => {
    const said = async (request: string, ...ports: number[]) => {
      const service = await startRelay(cleanup, {
        forwarder: forwarderTo(...ports),
        metadata: { bind: true },
      });
      const client = await connectPeer(cleanup, service.port);
      client.say(request);
      return client.all();
    };
    expect(await said(asks({}), 1)).toBe(answer(6));
    expect(await said(asks({}))).toBe(answer(5));
    expect(await said(connectsUdp(any, 2), 1)).toBe(answer(5));
  });
});

describe('with sniffing', () => {
  async function tunnel() {
    const asked: string[] = [];
    const bypass = ({ target }: { target: string }) => {
      asked.push(target);
      return target.startsWith('no.');
    };
    const { origin, client, service } = await scene(cleanup, {
      bypass: { bypass },
      metadata: { sniffing: true },
    });
    client.say(connects('127.0.0.1', origin.port));
    await client.take(ok);
    asked.length = 0;
    return { asked, client, service, peer: await origin.next() };
  }

  test('each request is asked about by its own Host', async () => {
    const { asked, client, peer } = await tunnel();
    client.say('GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n');
    await peer.take('GET /1 ');
    peer.say('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none');
    await client.take('one');
    client.say('GET /2 HTTP/1.1\r\nHost: no.test\r\n\r\n');
    await client.take(/^HTTP\/1\.1 403 /m);
    expect(peer.text).not.toContain('no.test');
    expect(asked).toEqual(['a.test:80', 'no.test:80']);
  });

  test('a server that speaks first is heard', async () => {
    const { client, peer } = await tunnel();
    peer.say('220 hello\r\n');
    await client.take('220 hello');
    client.say('EHLO x\r\n');
    await peer.take('EHLO x');
  });
});

describe('whatever comes', () => {
  test.each([
    ['nothing', ''],
    ['a part of the head', '\x01\x01'],
    ['a part of the features', '\x01\x01\0\x0a\x02\0'],
    ['less than it promised', `\x01\x01\xff\xff${'\0'.repeat(1000)}`],
  ])('a client that says %s and then nothing is cut off', async (_, bytes) => {
    const { client, service } = await scene(cleanup, { metadata: { readTimeoutMs: 50 } });
    client.say(bytes);
    expect(await client.all()).toBe('');
    expect((await service.event('closed')).error?.code).toBe('handshakeTimeout');
  });

  test('another protocol ends the connection, without a byte', async () => {
    for (const text of ['GET / HTTP/1.1\r\n\r\n', '\x05\x01\0', '\x02\x01\0\0']) {
      const { client, service } = await scene(cleanup);
      client.say(text);
      expect(await client.all()).toBe('');
      expect((await service.event('closed')).error?.code).toBe('malformedRequest');
    }
  });

  test('a client that leaves in the middle', async () => {
    const { client, service } = await scene(cleanup);
    client.say('\x01\x01\0').socket.end();
    await client.all();
    expect((await service.event('closed')).error?.code).toBe('clientClosed');
  });

  test('garbage is answered or ends, and the service goes on', async () => {
    const { service, origin } = await scene(cleanup, { auth, metadata: { bind: true } });
    const start = fc.constantFrom('', '\x01', '\x01\x01\0', '\x01\x82\0\x10\x01\0\x04\x01a\x01a');
    await fc.assert(
      fc.asyncProperty(start, fc.uint8Array({ maxLength: 40 }), async (begun, bytes) => {
        const client = await connectPeer(cleanup, service.port);
        client.socket.end(Buffer.concat([Buffer.from(begun, 'latin1'), bytes]));
        expect(await client.all()).toMatch(/^$|^\x01[\x01\x02\x03\x05]\0\0$/);
        client.socket.destroy();
      }),
      { numRuns: 80 },
    );
    const client = await connectPeer(cleanup, service.port);
    client.say(connects('127.0.0.1', origin.port, userAuth('ada', 'ada')));
    await client.take(ok);
  });
});
