import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer, startOrigin, startProxy } from './proxy.fixture.ts';
import type { Peer, TestOrigin, TestProxy } from './proxy.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface Scene {
  readonly origin: TestOrigin;
  readonly proxy: TestProxy;
  readonly client: Peer;
  /** `http://127.0.0.1:port` of the origin. */
  readonly url: string;
  readonly host: string;
}

async function scene(): Promise<Scene> {
  const origin = await startOrigin(cleanup);
  const proxy = await startProxy(cleanup);
  const client = await connectPeer(cleanup, proxy.port);
  const host = `127.0.0.1:${String(origin.port)}`;
  return { origin, proxy, client, host, url: `http://${host}` };
}

const ok = (body: string, fields = '') =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n${fields}\r\n${body}`;

describe('what the origin is sent', () => {
  test('the path, the Host of the request line, and only the fields that are meant for it', async () => {
    const { client, origin, url, host } = await scene();
    client.say(
      `GET ${url}/a/b?c=d%20e HTTP/1.1\r\nHost: elsewhere.test\r\nUser-Agent: t\r\nX-Private: 1\r\nConnection: X-Private, keep-alive\r\n` +
        'Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic Z29zdDpnb3N0\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\nAccept: */*\r\n\r\n',
    );
    const server = await origin.next();
    expect(await server.head()).toBe(
      `GET /a/b?c=d%20e HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: t\r\nAccept: */*\r\nTE: trailers\r\nConnection: TE\r\n\r\n`,
    );
    server.say(ok('done', 'X-Hop: 1\r\nConnection: X-Hop\r\nProxy-Authenticate: Basic\r\nX-Kept: 2\r\n'));
    expect(await client.take('done')).toBe('HTTP/1.1 200 OK\r\nX-Kept: 2\r\nContent-Length: 4\r\n\r\ndone');
  });

  test.each([
    ['GET', 'http://127.0.0.1:PORT', 'GET / '],
    ['GET', 'HTTP://127.0.0.1:PORT?q', 'GET /?q '],
    ['OPTIONS', 'http://127.0.0.1:PORT', 'OPTIONS * '],
    ['GET', 'http://[::ffff:127.0.0.1]:PORT/', 'GET / '],
    ['GET', 'http://0.0.0.0:PORT/\xe4', 'GET /\xe4 '],
  ])('%s %s', async (method, target, line) => {
    const { client, origin, host } = await scene();
    client.say(`${method} ${target.replace('PORT', String(origin.port))} HTTP/1.1\r\nHost: x\r\n\r\n`);
    const server = await origin.next();
    expect(await server.head()).toMatch(
      new RegExp(`^${line.replace(/[?*]/g, '\\$&')}HTTP/1\\.1\r\nHost: ${host}\r\n`),
    );
  });

  test.each([
    ['GET /path HTTP/1.1\r\nHost: x\r\n', 400, /this is a proxy/i],
    ['GET http://x/# HTTP/1.1\r\nHost: x\r\n', 400, /fragment/],
    ['GET http://u:p@x/ HTTP/1.1\r\nHost: x\r\n', 400, /not a host/],
    ['GET http:/// HTTP/1.1\r\nHost: x\r\n', 400, /empty/],
    ['GET http://127.2/ HTTP/1.1\r\nHost: x\r\n', 400, /another spelling/],
    ['GET http://127.0.0.1:1/ HTTP/1.1\r\n', 400, /needs a Host/],
    ['OPTIONS * HTTP/1.1\r\nHost: x\r\n', 400, /this is a proxy/i],
    ['GET https://x/ HTTP/1.1\r\nHost: x\r\n', 501, /CONNECT/],
    ['GET ftp://x/ HTTP/1.1\r\nHost: x\r\n', 501, /ftp/],
  ])('%j is refused', async (head, status, words) => {
    const { client, origin } = await scene();
    client.say(`${head}\r\n`);
    expect(await client.head()).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
    expect(await client.take('\n')).toMatch(/^\d{3} /);
    expect(await client.take('\n')).toMatch(words);
    expect(origin.peers).toHaveLength(0);
  });
});

describe('bodies', () => {
  test('go both ways at once, with a length or in chunks, and keep their trailers', async () => {
    const { client, origin, url } = await scene();
    client.say(`POST ${url}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`);
    const server = await origin.next();
    expect(await server.head()).toMatch(/\r\nTransfer-Encoding: chunked\r\n/);
    expect(await server.take('abc\r\n')).toBe('3\r\nabc\r\n');
    server.say('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nyo\r\n');
    expect(await client.take('yo\r\n')).toMatch(/\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyo\r\n$/);
    client.say('1;ext=1\r\nd\r\n0\r\nX-Check: 1\r\nProxy-Secret: 2\r\n\r\n');
    expect(await server.take('\r\n\r\n')).toBe('1\r\nd\r\n0\r\nX-Check: 1\r\n\r\n');
    server.say('0\r\nX-Sum: 7\r\n\r\n');
    expect(await client.take('\r\n\r\n')).toBe('0\r\nX-Sum: 7\r\n\r\n');
    client.say(`PUT ${url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nbody`);
    expect(await server.take('body')).toMatch(/\r\nContent-Length: 4\r\n\r\nbody$/);
    server.say(ok(''));
    await client.head();
    expect(origin.peers).toHaveLength(1);
  });

  test('an answer that ends with its connection becomes chunks, or stays so for HTTP/1.0', async () => {
    const { client, proxy, origin, url } = await scene();
    client.say(`GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    (await origin.next()).say('HTTP/1.0 200 OK\r\n\r\nwhole').socket.end();
    expect(await client.take('0\r\n\r\n')).toBe(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n',
    );
    const old = await connectPeer(cleanup, proxy.port);
    old.say(`GET ${url}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
    const server = await origin.next();
    expect(await server.head()).toMatch(/^GET \/ HTTP\/1\.1\r\nHost: 127/);
    server.say('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n');
    expect(await old.all()).toBe('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole');
    const kept = await connectPeer(cleanup, proxy.port);
    kept.say(`GET ${url}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
    (await origin.next()).say(ok('1'));
    expect(await kept.take('\r\n\r\n1')).toMatch(/\r\nConnection: keep-alive\r\n/);
  });

  test('HEAD, 204 and 304 have none, and Content-Length means what it meant', async () => {
    const { client, origin, url } = await scene();
    client.say(`HEAD ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    const server = await origin.next();
    await server.head();
    server.say('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
    expect(await client.head()).toMatch(/\r\nContent-Length: 1000\r\n\r\n$/);
    for (const [status, expected] of [
      ['204 No Content', /^HTTP\/1\.1 204 No Content\r\nX: y\r\n\r\n$/],
      ['304 Not Modified', /\r\nContent-Length: 5\r\n\r\n$/],
    ] as const) {
      client.say(`GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
      await server.head();
      server.say(`HTTP/1.1 ${status}\r\nX: y\r\nContent-Length: 5\r\n\r\n`);
      expect(await client.head()).toMatch(expected);
    }
    expect(origin.peers).toHaveLength(1);
  });

  test('one that is cut short looks cut short', async () => {
    const { client, proxy, origin, url } = await scene();
    client.say(`GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    (await origin.next()).say('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf').socket.end();
    expect(await client.all()).toMatch(/\r\n\r\nhalf$/);
    expect(await proxy.event('served')).toMatchObject({ status: 200, error: { code: 'badUpstreamReply' } });
    const old = await connectPeer(cleanup, proxy.port);
    old.say(`GET ${url}/ HTTP/1.0\r\n\r\n`);
    const server = await origin.next();
    server.say('HTTP/1.1 200 OK\r\n\r\nhalf');
    await old.take('half');
    server.socket.resetAndDestroy();
    await old.all();
    expect(old.error).toBe('ECONNRESET');
    const upload = await connectPeer(cleanup, proxy.port);
    upload.say(`POST ${url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf`);
    const receiver = await origin.next();
    await receiver.take('half');
    upload.socket.end();
    await receiver.all();
    expect(receiver.error).toBe('ECONNRESET');
    expect(await upload.head()).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe('interim answers, Expect and upgrades', () => {
  test('100 and 103 go on; the body waits for them', async () => {
    const { client, origin, url } = await scene();
    client.say(`POST ${url}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n`);
    const server = await origin.next();
    expect(await server.head()).toMatch(/\r\nExpect: 100-continue\r\n/);
    server.say('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n');
    expect(await client.head()).toBe('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n');
    expect(await client.head()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    client.say('hi');
    await server.take('hi');
    server.say(ok('yes'));
    await client.take('yes');
  });

  test('a no to Expect ends the connection, for nobody knows whether the body will come', async () => {
    const { client, origin, url } = await scene();
    client.say(`POST ${url}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n`);
    const server = await origin.next();
    await server.head();
    server.say('HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n');
    const hidden = `GET ${url}/hidden HTTP/1.1\r\nHost: x\r\n\r\n`;
    expect(await client.head()).toMatch(/^HTTP\/1\.1 417 .*\r\n(.*\r\n)*Connection: close\r\n/);
    client.say(hidden);
    expect(await client.all()).toBe('');
    client.socket.end();
    expect(origin.peers).toHaveLength(1);
  });

  test('a client of HTTP/1.0 sees no interim answer', async () => {
    const { client, origin, url } = await scene();
    client.say(`GET ${url}/ HTTP/1.0\r\nExpect: 100-continue\r\n\r\n`);
    const server = await origin.next();
    expect(await server.head()).not.toMatch(/Expect/);
    server.say(`HTTP/1.1 100 Continue\r\n\r\n${ok('x')}`);
    expect(await client.all()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  test('a WebSocket is opened and carried', async () => {
    const { client, origin, url } = await scene();
    client.say(
      `GET ${url}/ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: x\r\nSec-WebSocket-Key: k\r\n\r\nearly`,
    );
    const server = await origin.next();
    expect(await server.head()).toMatch(
      /\r\nSec-WebSocket-Key: k\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n$/,
    );
    server.say('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframe');
    expect(await client.take('frame')).toBe(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframe',
    );
    await server.take('early');
    client.socket.end('bye');
    await server.take('bye');
    server.socket.end('bye yourself');
    expect(await client.all()).toBe('bye yourself');
  });
});

describe('connections', () => {
  test('of the client and of the origin are kept, for the same target', async () => {
    const { client, origin, url, proxy } = await scene();
    const other = await startOrigin(cleanup);
    // Pipelined: the answers come in order.
    client.say(`GET ${url}/1 HTTP/1.1\r\nHost: x\r\n\r\nGET ${url}/2 HTTP/1.1\r\nHost: x\r\n\r\n`);
    const server = await origin.next();
    expect(await server.head()).toMatch(/^GET \/1 /);
    server.say(ok('one'));
    expect(await server.head()).toMatch(/^GET \/2 /);
    server.say(ok('two'));
    await client.take('two');
    client.say(`GET http://127.0.0.1:${String(other.port)}/3 HTTP/1.1\r\nHost: x\r\n\r\n`);
    (await other.next()).say(ok('three'));
    await client.take('three');
    // The first origin was let go of politely.
    await server.all();
    expect(server.error).toBeUndefined();
    client.say(`GET ${url}/4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    (await origin.next()).say(ok('four'));
    expect(await client.all()).toMatch(/\r\nConnection: close\r\n\r\nfour$/);
    client.socket.end();
    expect((await proxy.event('closed')).error).toBeUndefined();
  });

  test('a kept one that the origin has closed is replaced; a request that may not be repeated is not', async () => {
    const { client, origin, url } = await scene();
    const get = `GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`;
    client.say(get);
    const first = await origin.next();
    first.say(ok('a'));
    await client.take('a');
    client.say(get);
    await first.head();
    await first.head();
    // Closed after the request was sent: sent once more on another one.
    first.socket.end();
    const second = await origin.next();
    await second.head();
    second.say(ok('b'));
    await client.take('\r\n\r\nb');
    client.say(`POST ${url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`);
    await second.head();
    second.socket.end();
    expect(await client.head()).toMatch(/^HTTP\/1\.1 502 /);
    expect(origin.peers).toHaveLength(2);
  });

  test('bytes after an answer are never the next one', async () => {
    const { client, origin, url } = await scene();
    const get = `GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`;
    client.say(get);
    (await origin.next()).say(`${ok('a')}${ok('not asked for')}`);
    await client.take('\r\n\r\na');
    client.say(get);
    (await origin.next()).say(ok('b'));
    expect(await client.take('\r\n\r\nb')).not.toMatch(/not asked for/);
  });

  test('the client leaves: the origin is left', async () => {
    const { client, origin, url, proxy } = await scene();
    client.say(`GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    const server = await origin.next();
    await server.head();
    client.socket.resetAndDestroy();
    await server.all();
    expect((await proxy.event('closed')).error).toMatchObject({ code: 'clientClosed' });
  });

  test('a service that stops lets requests finish and ends idle connections', async () => {
    const { client, origin, url, proxy } = await scene();
    const idle = await connectPeer(cleanup, proxy.port);
    client.say(`GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    const server = await origin.next();
    await server.head();
    const stopped = proxy.service.stop();
    expect(await idle.all()).toBe('');
    idle.socket.end();
    server.say(ok('last'));
    expect(await client.all()).toMatch(/\r\nConnection: close\r\n\r\nlast$/);
    client.socket.end();
    await stopped;
  });
});

describe('a service that ends while an answer is under way', () => {
  const request = (url: string, name: string) => `GET ${url}/${name} HTTP/1.1\r\nHost: x\r\n\r\n`;

  test.each(['retire', 'stop'] as const)('%s: what its head has promised is kept', async (end) => {
    const { client, origin, url, proxy } = await scene();
    client.say(request(url, 'one'));
    const server = await origin.next();
    await server.head();
    server.say('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha');
    expect(await client.take('\r\n\r\nha')).not.toMatch(/Connection/);
    const ended = proxy.service[end]();
    // A client that has been promised another request may have sent it already.
    if (end === 'stop') client.say(request(url, 'two'));
    server.say('lf');
    await client.take('lf');
    if (end === 'retire') client.say(request(url, 'two'));
    await server.take('GET /two ');
    await server.head();
    server.say(ok('last'));
    expect(await client.all()).toMatch(/\r\nConnection: close\r\n\r\nlast$/);
    client.socket.end();
    await ended;
  });

  test('stop: without another request the connection ends with the answer', async () => {
    const { client, origin, url, proxy } = await scene();
    client.say(request(url, 'one'));
    const server = await origin.next();
    await server.head();
    server.say('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha');
    await client.take('\r\n\r\nha');
    const ended = proxy.service.stop();
    server.say('lf');
    expect(await client.all()).toBe('lf');
    client.socket.end();
    await ended;
  });
});

describe("the origin's faults", () => {
  test.each([
    ['nothing', '', /closed the connection without an answer/],
    ['no HTTP', 'SSH-2.0-x\r\n\r\n', /status line/],
    ['a head cut short', 'HTTP/1.1 200 OK\r\nX: ', /cut short/],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12', /differ/],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      /contradict/,
    ],
    ['an unwanted protocol', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n', /nobody asked/],
    [
      '407',
      'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n',
      /credentials of a proxy/,
    ],
    ['endless interim answers', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(40), /without an end/],
    ['bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n', /CRLF/],
  ])('%s is 502', async (_name, bytes, words) => {
    const { client, origin, url, proxy } = await scene();
    client.say(`GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    const server = await origin.next();
    await server.head();
    server.say(bytes).socket.end();
    await client.take('HTTP/1.1 502 Bad Gateway\r\n');
    expect(await client.take(')\n')).toMatch(words);
    expect((await proxy.event('served')).error?.at).toBe('upstream');
    // The fault was not the client's: its connection goes on.
    client.say(`GET ${url}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    (await origin.next()).say(ok('fine'));
    await client.take('fine');
  });
});
