/* eslint-disable no-control-regex -- the bytes of the protocol are what is looked at */
import { afterEach, describe, expect, test } from 'vitest';
import { createAuthority } from '@sallyport/plugin/testing';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { Cleanup, startOrigin } from '../../core/peer.fixture.ts';
import { socks5 } from './index.ts';
import { directWay, startHandler, testContext } from './scene.fixture.ts';
import type { TestServiceOptions } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const authority = createAuthority();
const certificate = authority.issue({ names: ['127.0.0.1'] });
const stranger = createAuthority();
const auth: TestServiceOptions['auth'] = ({ username, password }) => ({
  ok: username === password,
  user: '',
});
const ada = { username: 'ada', password: 'ada' };

async function connect(port: number, options: Partial<ConnectorOptions> = {}, target = 'a.example', to = 80) {
  const node = { host: '127.0.0.1', port };
  const conn = await directWay.dial(node, testContext());
  cleanup.add(conn, () => {
    conn.reset();
  });
  const all = { metadata: {}, node, ...options };
  return socks5.connector!.connect(conn, { host: target, port: to }, all, testContext());
}

describe('our own handler', () => {
  test.each<[string, TestServiceOptions, Partial<ConnectorOptions>, string]>([
    ['nothing', {}, {}, 'plain'],
    ['a password', { auth }, { auth: ada }, 'plain'],
    ['TLS', { tls: certificate }, {}, 'tls'],
    ['TLS and a password', { tls: certificate, auth }, { auth: ada }, 'tls'],
    ['TLS that is verified', { tls: certificate }, { tls: { ca: [authority.cert] } }, 'tls'],
    ['no TLS, for the client', { tls: certificate }, { metadata: { notls: true } }, 'plain'],
    ['no TLS, for the server', { tls: certificate, metadata: { notls: true } }, {}, 'plain'],
  ])('with %s', async (_, server, client, kind) => {
    const origin = await startOrigin(cleanup);
    const service = await startHandler(cleanup, socks5.handler!, server);
    const conn = await connect(service.port, client, 'localhost', origin.port);
    expect(conn.tls === undefined ? 'plain' : 'tls').toBe(kind);
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

  test.each<[string, TestServiceOptions, Partial<ConnectorOptions>, string]>([
    ['a wrong password', { auth }, { auth: { username: 'ada', password: 'eve' } }, 'upstreamRefused'],
    ['no password', { auth }, {}, 'upstreamRefused'],
    [
      'an authority that we do not know',
      { tls: certificate },
      { tls: { ca: [stranger.cert] } },
      'dialFailed',
    ],
    ['a rule against it', { bypass: () => true }, {}, 'upstreamRefused'],
    ['nothing at the target', {}, {}, 'dialFailed'],
  ])('with %s', async (_, server, client, code) => {
    const service = await startHandler(cleanup, socks5.handler!, server);
    await expect(connect(service.port, client, '127.0.0.1', 1)).rejects.toMatchObject({
      code,
      at: 'upstream',
    });
  });
});

describe('a node', () => {
  test('is offered what GOST offers, and what comes with its answer is kept', async () => {
    const node = await startOrigin(cleanup);
    const connecting = connect(node.port, { auth: ada });
    const peer = await node.next();
    await peer.take('\x05\x04\0\x02\x80\x82');
    peer.say('\x05\x02');
    await peer.take('\x01\x03ada\x03ada');
    peer.say('\x01\0');
    await peer.take('\x05\x01\0\x03\x09a.example\0\x50');
    peer.say('\x05\0\0\x03\0\0\0welcome');
    expect((await (await connecting).read())?.toString()).toBe('welcome');
  });

  test.each([
    ['a method that was not offered', ['\x05\x02'], 'badUpstreamReply'],
    ['no method', ['\x05\xff'], 'upstreamRefused'],
    ['another protocol', ['HTTP/1.1 400'], 'badUpstreamReply'],
    ['not allowed', ['\x05\0', '\x05\x02\0\x01\0\0\0\0\0\0'], 'upstreamRefused'],
    ['not served', ['\x05\0', '\x05\x07\0\x01\0\0\0\0\0\0'], 'upstreamRefused'],
    ['refused', ['\x05\0', '\x05\x05\0\x01\0\0\0\0\0\0'], 'dialFailed'],
    ['a broken answer', ['\x05\0', '\x05\0\x01'], 'badUpstreamReply'],
  ])('answers: %s', async (_, answers, code) => {
    const node = await startOrigin(cleanup);
    const connecting = connect(node.port);
    connecting.catch(() => undefined);
    const peer = await node.next();
    await peer.take('\x05\x02\0\x80');
    for (const answer of answers) peer.say(answer);
    await expect(connecting).rejects.toMatchObject({ code, at: 'upstream', retryable: true });
    await peer.all();
  });

  test.each(['', '\x05', '\x05\0', '\x05\0\x05\0\0\x01'])('hangs up after %j', async (said) => {
    const node = await startOrigin(cleanup);
    const connecting = connect(node.port);
    connecting.catch(() => undefined);
    (await node.next()).say(said).socket.end();
    await expect(connecting).rejects.toMatchObject({ code: 'upstreamClosed', retryable: true });
  });

  test('is not waited for by nobody, in its TLS neither', async () => {
    for (const said of ['', '\x05\x80']) {
      const node = await startOrigin(cleanup);
      const at = { host: '127.0.0.1', port: node.port };
      const leaving = new AbortController();
      const conn = await directWay.dial(at, testContext());
      const options = { metadata: {}, node: at };
      const connecting = socks5.connector!.connect(conn, at, options, testContext(leaving.signal));
      connecting.catch(() => undefined);
      const peer = await node.next();
      await peer.take('\x05\x02\0\x80');
      peer.say(said);
      if (said !== '') await peer.take(/^\x16\x03/);
      leaving.abort();
      await expect(connecting).rejects.toMatchObject({ code: 'clientClosed' });
      await conn.closed;
    }
  });

  test('cannot be asked for a name that is too long', async () => {
    const node = await startOrigin(cleanup);
    const connecting = connect(node.port, {}, 'a'.repeat(256));
    connecting.catch(() => undefined);
    (await node.next()).say('\x05\0');
    await expect(connecting).rejects.toMatchObject({ code: 'unsupported', at: 'self' });
  });
});
