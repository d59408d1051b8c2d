import { connect as connectTls } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import type { End } from '../../core/conn.ts';
import { Cleanup, connectPeer, startHandler, startOrigin } from '../../core/http/proxy.fixture.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import type { Way } from '../../core/way.ts';
import { tcp } from '../../transports/tcp/index.ts';
import { auto } from './index.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function scene(parts: TestParts = {}) {
  const served: string[] = [];
  const proxy = await startHandler(cleanup, auto.handler!, {
    async serve(end: End, _session, protocol) {
      if (end.kind !== 'stream') throw new Error('a connection was given');
      served.push(`${protocol} ${String(await end.read())}`);
      await end.write(Buffer.from('ok'));
      await end.end();
    },
    ...parts,
  });
  return { proxy, served, client: await connectPeer(cleanup, proxy.port) };
}

test.each([
  ['\x04\x01', 'socks4'],
  ['\x05\x01\x00', 'socks5'],
  ['GET / HTTP/1.1\r\n', 'http'],
  ['CONNECT x:1 HTTP/1.1\r\n', 'http'],
])('%j is served as %s, with what was looked at', async (bytes, protocol) => {
  const { client, served } = await scene();
  for (const byte of bytes) client.say(byte);
  await client.take('ok');
  client.socket.end();
  expect(served[0]!.startsWith(`${protocol} ${bytes[0]!}`)).toBe(true);
});

test.each([
  ['\x00\xffx', /neither SOCKS nor HTTP nor TLS.*\\xff/],
  ['SSH-2.0-x\r\n', /: ssh$/],
  ['*1\r\n', /: redis$/],
])('%j is refused, and the error says what came', async (bytes, message) => {
  const { client, proxy, served } = await scene();
  client.say(bytes);
  await client.all();
  const { error } = await proxy.event('closed');
  expect(error).toMatchObject({ code: 'malformedRequest' });
  expect(error!.message).toMatch(message);
  expect(served).toEqual([]);
});

test('a beginning that never becomes anything, and silence, are bounded', async () => {
  for (const bytes of ['GE', '']) {
    const { client, proxy } = await scene({ metadata: { readTimeoutMs: 30 } });
    client.say(bytes);
    await client.all();
    expect((await proxy.event('closed')).error).toBeDefined();
  }
});

test('TLS goes unread where its SNI says; where an auther is asked it must let in whoever cannot say who it is', async () => {
  const origin = await startOrigin(cleanup);
  const way = tcp.wrap(undefined, { metadata: {} });
  const direct: Way = {
    ...way,
    dial: (to, context) => {
      expect(to).toEqual({ host: 'web.test', port: 443 });
      return way.dial({ host: '127.0.0.1', port: origin.port }, context);
    },
  };
  const say = (port: number) => {
    const socket = connectTls({ port, host: '127.0.0.1', servername: 'web.test' });
    socket.on('error', () => undefined);
    return cleanup.add(socket, () => socket.destroy());
  };
  const open = await scene({ direct });
  say(open.proxy.port);
  await (await origin.next()).take(/web\.test/);
  const closed = await scene({ direct, auth: { authenticate: () => ({ ok: false, user: '' }) } });
  say(closed.proxy.port);
  expect((await closed.proxy.event('closed')).error).toMatchObject({ code: 'wrongCredentials' });
  expect(origin.peers).toHaveLength(1);
});

test('a service that is being stopped does not wait for those who have said nothing', async () => {
  const { client, proxy } = await scene();
  await proxy.event('opened');
  const stopped = proxy.service.stop();
  await client.all();
  await stopped;
  expect((await proxy.event('closed')).error).toMatchObject({ code: 'clientClosed' });
});
