import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { Address } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import type { Way } from '../../core/way.ts';
import { tcp } from '../../transports/tcp/index.ts';
import { connectHttp } from './connect.ts';
import { http } from './index.ts';
import { Cleanup, connectPeer, startOrigin, startProxy } from './proxy.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const node: Address = { host: 'node.test', port: 3128 };
const target: Address = { host: 'a.test', port: 443 };
const context = () => ({ signal: new AbortController().signal });

async function asking(metadata = {}, auth?: { username: string; password: string }) {
  const [peer, conn] = memoryConnPair();
  const asked = connectHttp(conn, target, { metadata, node, ...(auth !== undefined && { auth }) }, context());
  asked.catch(() => undefined);
  const request = String(await peer.read());
  return { peer, conn, asked, request };
}

describe('the request', () => {
  test('names the target, who we are, and what the file adds', async () => {
    const { peer, asked, request } = await asking(
      { header: [['X-A', '1']] },
      { username: 'ü', password: 'p:w' },
    );
    const credentials = Buffer.from('ü:p:w').toString('base64');
    expect(request).toBe(
      `CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nX-A: 1\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
    );
    await peer.write(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'));
    await asked;
  });
});

describe('the answer', () => {
  test('what follows its head is kept, however it is split', async () => {
    const answer = Buffer.from('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Fine\r\nX: y\r\n\r\nearly');
    for (let at = 1; at < answer.length - 1; at += 3) {
      const { peer, asked } = await asking();
      await peer.write(answer.subarray(0, at));
      await peer.write(answer.subarray(at));
      const conn = await asked;
      let text = '';
      while (text.length < 5) text += String(await conn.read());
      expect(text).toBe('early');
    }
  });

  test.each([
    ['HTTP/1.1 407 Who\r\n\r\n', 'upstreamRefused', /wants a user name and a password/],
    ['HTTP/1.1 403 No\r\n\r\n', 'upstreamRefused', /does not allow a\.test:443/],
    ['HTTP/1.1 503 No\r\n\r\n', 'dialFailed', /could not reach a\.test:443/],
    ['HTTP/1.1 101 Switch\r\n\r\n', 'badUpstreamReply', /does not answer/],
    ['SSH-2.0-x\r\n\r\n', 'badUpstreamReply', /no valid answer/],
    ['HTTP/1.1 200 OK\nX: y\n\n', 'badUpstreamReply', /CRLF/],
    [null, 'upstreamClosed', /without an answer/],
  ])('%j ends in %s, and the connection is reset', async (answer, code, message) => {
    const { peer, asked, conn } = await asking();
    if (answer === null) await peer.end();
    else await peer.write(Buffer.from(answer));
    const error: unknown = await asked.catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code, retryable: true, message: expect.stringMatching(message) as string });
    expect(conn.isReset).toBe(true);
  });

  test('garbage is an error and never anything else', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 80 }), { maxLength: 5 }),
        async (pieces) => {
          const { peer, asked } = await asking();
          for (const piece of pieces) await peer.write(piece).catch(() => undefined);
          await peer.end();
          expect(await asked.catch((cause: unknown) => cause)).toBeInstanceOf(ProxyError);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('silence ends at the timeout of the file', async () => {
    const { asked } = await asking({ timeoutMs: 20 });
    await expect(asked).rejects.toMatchObject({ code: 'upstreamTimeout' });
  });
});

describe('through the handler', () => {
  const way = tcp.wrap(undefined, { metadata: {} });
  const dial = (port: number) => way.dial({ host: '127.0.0.1', port }, context());

  test('a tunnel', async () => {
    const origin = await startOrigin(cleanup);
    const proxy = await startProxy(cleanup);
    const to = { host: '127.0.0.1', port: origin.port };
    const conn = await connectHttp(await dial(proxy.port), to, { metadata: {}, node }, context());
    cleanup.add(conn, () => conn.reset());
    const server = await origin.next();
    server.say('hello');
    expect(String(await conn.read())).toBe('hello');
  });

  async function echo(): Promise<Address> {
    const socket = createSocket('udp4');
    socket.on('message', (data, { port, address }) => socket.send(`echo ${String(data)}`, port, address));
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    cleanup.add(socket, () => socket.close());
    return { host: '127.0.0.1', port: (socket.address() as AddressInfo).port };
  }

  /** Datagrams without a transport of their own, straight from the system. */
  const direct: Way = {
    ...way,
    async packets() {
      const { createDatagramInbox } = await import('../../core/datagrams.ts');
      const socket = createSocket('udp4');
      const inbox = createDatagramInbox();
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      socket.on('message', (data, { address, port }) => inbox.deliver(data, { host: address, port }));
      const { port } = socket.address();
      let open = true;
      return {
        kind: 'datagrams',
        local: { host: '127.0.0.1', port },
        remote: { host: '', port: 0 },
        receive: (each) => inbox.receive(each),
        send(data, peer) {
          socket.send(data, peer!.port, peer!.host);
          return true;
        },
        close() {
          if (open) socket.close();
          open = false;
        },
        closed: new Promise((resolve) => socket.once('close', resolve)),
      };
    },
  };

  test('datagrams, where the service allows them', async () => {
    const to = await echo();
    const proxy = await startProxy(cleanup, undefined, { direct, metadata: { udp: true } });
    const associate = http.connector!.associate!;
    const datagrams = await associate(await dial(proxy.port), way, { metadata: {}, node }, context());
    cleanup.add(datagrams, () => datagrams.close());
    const came = new Promise((resolve) => datagrams.receive((data, peer) => resolve([String(data), peer])));
    expect(datagrams.send(Buffer.from('x'), to)).toBe(true);
    expect(await came).toEqual(['echo x', to]);
    datagrams.close();
    expect((await proxy.event('closed')).error).toBeUndefined();

    const refusing = await startProxy(cleanup, undefined, { direct });
    await expect(
      associate(await dial(refusing.port), way, { metadata: {}, node }, context()),
    ).rejects.toMatchObject({ code: expect.stringMatching(/upstreamRefused|badUpstreamReply/) as string });
  });

  test('only a CONNECT asks for datagrams', async () => {
    const origin = await startOrigin(cleanup);
    const proxy = await startProxy(cleanup, undefined, { direct, metadata: { udp: true } });
    const client = await connectPeer(cleanup, proxy.port);
    client.say(
      `GET http://127.0.0.1:${String(origin.port)}/ HTTP/1.1\r\nHost: x\r\nX-Gost-Protocol: udp\r\n\r\n`,
    );
    const server = await origin.next();
    await server.head();
  });
});
