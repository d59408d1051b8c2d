import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer, startHandler, startOrigin } from '../../core/http/proxy.fixture.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import type { Way } from '../../core/way.ts';
import { tcp } from '../../transports/tcp/index.ts';
import { sni } from './index.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A service whose every dial ends at one origin, and where it was asked to go. */
async function scene(parts: TestParts = {}) {
  const origin = await startOrigin(cleanup);
  const way = tcp.wrap(undefined, { metadata: {} });
  const dialed: string[] = [];
  const direct: Way = {
    ...way,
    dial(to, context) {
      dialed.push(`${to.host}:${String(to.port)}`);
      return way.dial({ host: '127.0.0.1', port: origin.port }, context);
    },
  };
  const proxy = await startHandler(cleanup, sni.handler!, { direct, ...parts });
  return { origin, dialed, proxy, client: await connectPeer(cleanup, proxy.port) };
}

const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`;

describe('plain HTTP', () => {
  test('goes where each request’s own Host says, and each is asked about', async () => {
    const asked: string[] = [];
    const bypass = {
      bypass({ target }: { target: string }) {
        asked.push(target);
        return target.startsWith('no.');
      },
    };
    const { client, dialed, origin } = await scene({ bypass });
    client.say('GET /1 HTTP/1.1\r\nHost: A.test\r\n\r\n');
    const first = await origin.next();
    expect(await first.head()).toBe('GET /1 HTTP/1.1\r\nHost: A.test\r\n\r\n');
    first.say(ok('one'));
    await client.take('one');
    client.say('GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n');
    await first.head();
    first.say(ok('two'));
    await client.take('two');
    // The hole of GOST: a second host on a connection that was let in for the first.
    client.say('GET /3 HTTP/1.1\r\nHost: no.test\r\n\r\n');
    expect(await client.head()).toMatch(/^HTTP\/1\.1 403 /);
    await client.take(')\n');
    client.say('GET http://b.test:81?x HTTP/1.1\r\nHost: a.test\r\n\r\n');
    expect(await (await origin.next()).head()).toBe('GET /?x HTTP/1.1\r\nHost: b.test:81\r\n\r\n');
    expect(dialed).toEqual(['a.test:80', 'b.test:81']);
    expect(asked).toEqual(['a.test:80', 'a.test:80', 'no.test:80', 'b.test:81']);
  });

  test.each([
    ['GET / HTTP/1.0\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n', 400],
    ['CONNECT a.test:443 HTTP/1.1\r\n\r\n', 501],
    ['GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n', 501],
  ])('%j is %i', async (request, status) => {
    const { client, dialed } = await scene();
    client.say(request);
    expect(await client.head()).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
    expect(dialed).toEqual([]);
  });
});

describe('TLS', () => {
  test('goes unread where its SNI says', async () => {
    const { origin, dialed, proxy } = await scene();
    const socket = connectTls({ port: proxy.port, host: '127.0.0.1', servername: 'Web.test' });
    socket.on('error', () => undefined);
    cleanup.add(socket, () => socket.destroy());
    await (await origin.next()).take(/Web\.test/);
    expect(dialed).toEqual(['web.test:443']);
  });

  test('without a name, or to one that is refused, it ends', async () => {
    const { dialed, proxy } = await scene({ bypass: { bypass: () => true } });
    for (const servername of [undefined, 'web.test']) {
      const socket = connectTls({
        port: proxy.port,
        host: '127.0.0.1',
        ...(servername !== undefined && { servername }),
      });
      cleanup.add(socket, () => socket.destroy());
      await new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
    }
    expect(dialed).toEqual([]);
    await proxy.event('closed', ({ error }) => error?.code === 'malformedRequest');
    await proxy.event('closed', ({ error }) => error?.code === 'forbidden');
  });

  test('an auther is asked about whoever has no words for it', async () => {
    const asked: string[] = [];
    const auth = {
      authenticate({ username, client }: { username: string; client: string }) {
        asked.push(`${username}@${client.replace(/:.*/, '')}`);
        return { ok: false, user: '' };
      },
    };
    const { client, dialed } = await scene({ auth });
    client.say('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n');
    expect(await client.head()).toMatch(/^HTTP\/1\.1 407 /);
    expect(asked).toEqual(['@127.0.0.1']);
    expect(dialed).toEqual([]);
  });
});

test.each([
  ['SSH-2.0-x\r\n', 'malformedRequest'],
  ['\x05\x01\x00', 'malformedRequest'],
  ['GE', 'handshakeTimeout'],
])('%j is refused', async (bytes, code) => {
  const { client, proxy } = await scene({ metadata: { sniffingTimeoutMs: 30 } });
  client.say(bytes);
  await client.all();
  expect((await proxy.event('closed')).error).toMatchObject({ code });
});

test('silence is bounded; whoever says nothing and leaves is no error', async () => {
  const { client, proxy } = await scene({ metadata: { readTimeoutMs: 30 } });
  await client.all();
  expect((await proxy.event('closed')).error).toMatchObject({ code: 'handshakeTimeout' });
  const other = await connectPeer(cleanup, proxy.port);
  other.socket.end();
  await other.all();
  await proxy.event('closed', ({ error }) => error === undefined);
});
