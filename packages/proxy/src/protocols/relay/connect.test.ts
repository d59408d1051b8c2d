import { afterEach, describe, expect, test } from 'vitest';
import type { Conn } from '../../core/conn.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { Cleanup, startOrigin } from '../../core/peer.fixture.ts';
import { directWay, testContext } from '../socks5/scene.fixture.ts';
import { relay } from './index.ts';
import { answer, auth, connects, ok, startRelay, userAuth } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const ada = { username: 'ada', password: 'ada' };
const nodelay = { metadata: { nodelay: true } };

async function connect(
  port: number,
  options: Partial<ConnectorOptions> = {},
  target = 'a.example',
  to = 80,
): Promise<Conn> {
  const node = { host: '127.0.0.1', port };
  const conn = await directWay.dial(node, testContext());
  cleanup.add(conn, () => {
    conn.reset();
  });
  const all = { metadata: {}, node, ...options };
  return relay.connector!.connect(conn, { host: target, port: to }, all, testContext());
}

describe('our own handler', () => {
  test.each<[string, TestParts, Partial<ConnectorOptions>]>([
    ['nothing', {}, {}],
    ['a password', { auth }, { auth: ada }],
    ['no delay on either side', nodelay, nodelay],
    ['no delay of the client', {}, nodelay],
    ['no delay of the server', nodelay, {}],
  ])('with %s', async (_, server, client) => {
    const origin = await startOrigin(cleanup);
    const service = await startRelay(cleanup, server);
    const conn = await connect(service.port, client, 'localhost', origin.port);
    await conn.write(Buffer.from('hello'));
    const peer = await origin.next();
    await peer.take('hello');
    peer.say('there').socket.end();
    expect((await conn.read())?.toString()).toBe('there');
    expect(await conn.read()).toBeNull();
    // Each direction ends by itself.
    await conn.write(Buffer.from('late'));
    await conn.end();
    await peer.take('late');
    expect((await service.event('closed')).error).toBeUndefined();
  });

  test('a target that speaks first does not wait for the client', async () => {
    const origin = await startOrigin(cleanup);
    const service = await startRelay(cleanup);
    const conn = await connect(service.port, {}, '127.0.0.1', origin.port);
    (await origin.next()).say('welcome');
    expect((await conn.read())?.toString()).toBe('welcome');
  });

  const refusals: [string, TestParts, Partial<ConnectorOptions>, string][] = [
    ['a wrong password', { auth }, { auth: { username: 'ada', password: 'eve' } }, 'upstreamRefused'],
    ['no password', { auth }, {}, 'upstreamRefused'],
    ['a rule against it', { bypass: { bypass: () => true } }, {}, 'upstreamRefused'],
    ['nothing at the target', {}, {}, 'dialFailed'],
  ];
  test.each(refusals)('with %s: at the first read', async (_, server, client, code) => {
    const service = await startRelay(cleanup, server);
    const conn = await connect(service.port, client, '127.0.0.1', 1);
    await expect(conn.read()).rejects.toMatchObject({ code, at: 'upstream' });
    await expect(conn.read()).rejects.toMatchObject({ code, at: 'upstream' });
    await conn.closed;
  });
  test.each(refusals)('with %s: at once, with `nodelay`', async (_, server, client, code) => {
    const service = await startRelay(cleanup, server);
    await expect(connect(service.port, { ...client, ...nodelay }, '127.0.0.1', 1)).rejects.toMatchObject({
      code,
      at: 'upstream',
    });
  });
});

describe('a node', () => {
  test('is asked in one piece with the first bytes, and answers with its own', async () => {
    const node = await startOrigin(cleanup);
    const conn = await connect(node.port, { auth: ada });
    await conn.write(Buffer.from('payload'));
    const peer = await node.next();
    const request = connects('a.example', 80, userAuth('ada', 'ada'));
    expect(await peer.take('payload')).toBe(`${request}payload`);
    peer.say(ok.slice(0, 3)).say(`${ok.slice(3)}welcome`);
    expect((await conn.read())?.toString()).toBe('welcome');
  });

  test('is asked even where there is nothing to send, or only an end', async () => {
    for (const ends of [false, true]) {
      const node = await startOrigin(cleanup);
      const conn = await connect(node.port);
      if (ends) await conn.end();
      const peer = await node.next();
      await peer.take(connects('a.example', 80));
      if (ends) expect(await peer.all()).toBe('');
    }
  });

  test.each([
    ['no user', answer(2), 'upstreamRefused'],
    ['not allowed', answer(3), 'upstreamRefused'],
    ['a bad request', answer(1), 'upstreamRefused'],
    ['not reached', answer(7), 'dialFailed'],
    ['another number', answer(99), 'dialFailed'],
    ['another protocol', 'HTTP/1.1 400', 'badUpstreamReply'],
    ['another version', '\x02\0\0\0', 'badUpstreamReply'],
    ['a broken feature', '\x01\0\0\x02\x02\0', 'badUpstreamReply'],
  ])('answers: %s', async (_, said, code) => {
    for (const options of [{}, nodelay]) {
      const node = await startOrigin(cleanup);
      const connecting = connect(node.port, options).then((conn) => conn.read());
      connecting.catch(() => undefined);
      const peer = await node.next();
      await peer.take('a.example');
      peer.say(said);
      await expect(connecting).rejects.toMatchObject({ code, at: 'upstream', retryable: true });
      await peer.all();
    }
  });

  test.each(['', '\x01', '\x01\0\0\x05\x02'])('hangs up after %j', async (said) => {
    for (const options of [{}, nodelay]) {
      const node = await startOrigin(cleanup);
      const connecting = connect(node.port, options).then((conn) => conn.read());
      connecting.catch(() => undefined);
      (await node.next()).say(said).socket.end();
      await expect(connecting).rejects.toMatchObject({ code: 'upstreamClosed', retryable: true });
    }
  });

  test('that does not answer is not waited for longer than the file says, nor by nobody', async () => {
    const node = await startOrigin(cleanup);
    const metadata = { nodelay: true, connectTimeoutMs: 20 };
    await expect(connect(node.port, { metadata })).rejects.toMatchObject({ code: 'upstreamTimeout' });
    const leaving = new AbortController();
    const at = { host: '127.0.0.1', port: node.port };
    const conn = await directWay.dial(at, testContext());
    const options = { ...nodelay, node: at };
    const target = { host: 'a.example', port: 80 };
    const connecting = relay.connector!.connect(conn, target, options, testContext(leaving.signal));
    connecting.catch(() => undefined);
    await node.next();
    await (await node.next()).take('a.example');
    leaving.abort();
    await expect(connecting).rejects.toMatchObject({ code: 'clientClosed' });
    await conn.closed;
  });

  test('cannot be asked for what does not fit', async () => {
    for (const options of [{}, nodelay]) {
      const node = await startOrigin(cleanup);
      const long = 'a'.repeat(256);
      const unsayable = { code: 'unsupported', at: 'self' };
      await expect(connect(node.port, options, long)).rejects.toMatchObject(unsayable);
      const withPassword = connect(node.port, { ...options, auth: { username: 'a', password: long } });
      await expect(withPassword).rejects.toMatchObject(unsayable);
      expect(await (await node.next()).all()).toBe('');
    }
  });
});
