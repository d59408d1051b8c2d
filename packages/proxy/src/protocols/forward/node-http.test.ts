import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { PluginError } from '@sallyport/plugin';
import type { BodyRule, NodeHttp } from '../../core/route.ts';
import { Cleanup, connectPeer, noHttp, startForward, startOrigin } from './forward.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const ok = (body: string, fields = '') =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n${fields}\r\n${body}`;

async function scene(http: Partial<NodeHttp>, metadata = {}) {
  const origin = await startOrigin(cleanup);
  const proxy = await startForward(cleanup, [{ port: origin.port, http: { ...noHttp, ...http } }], {
    sniffing: true,
    ...metadata,
  });
  const client = await connectPeer(cleanup, proxy.port);
  const ask = (path = '/', fields = '', body = '', method = 'GET') =>
    client.say(`${method} ${path} HTTP/1.1\r\nHost: site.test\r\n${fields}\r\n${body}`);
  return { origin, proxy, client, ask };
}

const rule = (part: Partial<BodyRule>): BodyRule => ({
  type: '*',
  match: undefined,
  replacement: '',
  rewriter: undefined,
  maxChunkBytes: 64,
  ...part,
});

describe('requests and answers', () => {
  test('host, headers and the path are rewritten', async () => {
    const { origin, client, ask } = await scene({
      host: 'inner.test:8080',
      requestHeader: [
        ['X-Set', 'yes'],
        ['User-Agent', ''],
        ['Content-Length', '7'],
      ],
      responseHeader: [
        ['Server', ''],
        ['X-Frame', 'deny'],
      ],
      rewriteUrl: [
        { match: /^\/none/, replacement: '/wrong' },
        { match: /^\/api\/(.*)/, replacement: '/v2/$1?from=api' },
        { match: /v2/, replacement: 'never' },
      ],
    });
    ask('/api/x?q=1', 'User-Agent: u\r\nX-Set: old\r\nx-set: older\r\n');
    const server = await origin.next();
    expect(await server.head()).toBe(
      'GET /v2/x?from=api HTTP/1.1\r\nHost: inner.test:8080\r\nX-Set: yes\r\n\r\n',
    );
    server.say(ok('fine', 'Server: s\r\n'));
    expect(await client.take('fine')).toBe(
      'HTTP/1.1 200 OK\r\nX-Frame: deny\r\nContent-Length: 4\r\n\r\nfine',
    );
  });

  test('a node that wants credentials gets none of them', async () => {
    const { origin, client, ask } = await scene({ auth: { username: 'u', password: 'p' } });
    for (const fields of ['', `Authorization: Basic ${btoa('u:wrong')}\r\n`, 'Authorization: Bearer x\r\n']) {
      ask('/', fields);
      expect(await client.head()).toMatch(/^HTTP\/1\.1 401 .*\r\n(.*\r\n)*WWW-Authenticate: Basic realm=/);
      await client.take(')\n');
    }
    ask('/', `Authorization: Basic ${btoa('u:p')}\r\n`);
    const reached = await Promise.any(
      [origin.next(), origin.next(), origin.next(), origin.next()].map(async (peer) =>
        (await peer).take(/^GET[^]*\r\n\r\n/),
      ),
    );
    expect(reached).not.toMatch(/authorization/i);
  });

  test('a status of failCodes marks the node and ends the connection', async () => {
    const { origin, client, ask } = await scene({ failed: (status) => status === 503 });
    ask();
    (await origin.next()).say('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n');
    expect(await client.all()).toBe('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  });
});

describe('bodies', () => {
  test('of known length and chunked ones are rewritten whole; longer ones are not', async () => {
    const { origin, client, ask } = await scene({
      rewriteResponseBody: [rule({ match: 'fox', replacement: 'wolf' })],
    });
    ask('/', 'Accept-Encoding: gzip, zstd\r\nRange: bytes=0-1\r\n');
    const server = await origin.next();
    const head = await server.head();
    expect(head).toMatch(/Accept-Encoding: gzip\r\n/);
    expect(head).not.toMatch(/range/i);
    server.say(ok('a fox', 'Content-MD5: x\r\n'));
    expect(await client.take('a wolf')).toBe('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na wolf');
    ask();
    const next = async () => {
      const peer = await Promise.race([origin.next(), server.take(/GET/).then(() => server)]);
      await peer.head();
      return peer;
    };
    (await next()).say('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfo\r\n1\r\nx\r\n0\r\n\r\n');
    expect(await client.take('wolf')).toBe('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwolf');
  });

  test('that are too long pass unchanged', async () => {
    const { origin, client, ask } = await scene({
      rewriteResponseBody: [rule({ match: 'fox', replacement: 'wolf' })],
    });
    const long = `fox${'.'.repeat(80)}end`;
    ask();
    const server = await origin.next();
    await server.head();
    server.say(ok(long));
    expect(await client.take('end')).toMatch(/\r\n\r\nfox/);
    ask();
    const again = await Promise.race([origin.next(), server.take(/GET/).then(() => server)]);
    await again.head();
    again.say(
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${long.length.toString(16)}\r\n${long}\r\n1\r\n!\r\n0\r\n\r\n`,
    );
    const text = await client.take('0\r\n\r\n');
    expect(text).toMatch(/Transfer-Encoding: chunked/);
    expect(text).toMatch(/\r\n\r\n[\da-f]+\r\nfox/);
  });

  test('of requests are rewritten, whoever waits for "100 Continue" too', async () => {
    const asked: unknown[] = [];
    const { origin, client, ask } = await scene({
      rewriteRequestBody: [
        rule({
          rewriter: {
            rewrite({ data, metadata }) {
              asked.push([Buffer.from(data).toString(), metadata]);
              return Buffer.from('[MASKED]');
            },
          },
        }),
      ],
    });
    ask('/post', 'Content-Type: text/plain\r\nContent-Length: 9\r\nExpect: 100-continue\r\n', '', 'POST');
    expect(await client.head()).toMatch(/^HTTP\/1\.1 100 /);
    client.say('my secret');
    const server = await origin.next();
    expect(await server.take('[MASKED]')).toBe(
      'POST /post HTTP/1.1\r\nHost: site.test\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\n[MASKED]',
    );
    expect(asked).toEqual([
      ['my secret', { sid: expect.any(String) as string, direction: 'request', uri: '/post' }],
    ]);
    server.say(ok('done'));
    await client.take('done');
    ask('/post', 'Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n0\r\n\r\n', 'POST');
    const again = await Promise.race([origin.next(), server.take(/POST/).then(() => server)]);
    expect(await again.take('[MASKED]')).toMatch(/Content-Length: 8\r\n/);
  });

  test('come back in the coding that they came in', async () => {
    const { origin, client, ask } = await scene({
      rewriteResponseBody: [rule({ match: 'fox', replacement: 'wolf' })],
    });
    const { gzipSync } = await import('node:zlib');
    const zipped = gzipSync('a fox').toString('latin1');
    ask();
    const server = await origin.next();
    await server.head();
    server.say(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n${zipped}`);
    server.socket.end();
    const head = await client.head();
    const length = Number(/Content-Length: (\d+)/.exec(head)![1]);
    const body = await client.take(new RegExp(`^[^]{${String(length)}}`));
    expect(String(gunzipSync(Buffer.from(body, 'latin1')))).toBe('a wolf');
  });

  test('an event stream is rewritten as it comes', async () => {
    const phases: unknown[] = [];
    const { origin, client, ask } = await scene({
      rewriteResponseBody: [
        rule({
          rewriter: {
            rewrite({ data, metadata }) {
              phases.push([metadata?.sse_phase, metadata?.event_index, metadata?.uri]);
              return Buffer.from(Buffer.from(data).toString().toUpperCase());
            },
          },
        }),
      ],
    });
    ask('/sse');
    const server = await origin.next();
    server.say('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\ndata:');
    expect(await client.take('DATA: ONE\n\n')).toMatch(/Transfer-Encoding: chunked/);
    server.say(' two\n\n');
    await client.take('DATA: TWO\n\n');
    server.socket.end();
    await client.take('0\r\n\r\n');
    expect(phases).toEqual([
      ['start', 0, '/sse'],
      ['event', 1, '/sse'],
      ['end', 2, '/sse'],
    ]);
  });

  test('a rewriter that cannot be asked is 502, and the end where the answer has begun', async () => {
    let alive = 0;
    const { origin, client, ask, proxy } = await scene({
      rewriteResponseBody: [
        rule({
          rewriter: {
            rewrite() {
              if (alive-- > 0) return undefined;
              throw new PluginError('timeout', 'too slow');
            },
          },
        }),
      ],
    });
    ask();
    (await origin.next()).say(ok('secret'));
    expect(await client.take(')\n')).toMatch(/^HTTP\/1\.1 502 (?!.*secret)/s);
    alive = 1;
    ask('/sse');
    const server = await origin.next();
    server.say('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\na\n\n');
    await client.take('a\n\n');
    server.say('secret\n\n');
    expect(await client.all()).not.toMatch(/secret|0\r\n\r\n/);
    client.socket.end();
    const served = await proxy.event('served', ({ details }) => JSON.stringify(details).includes('/sse'));
    expect(served.error).toMatchObject({ code: 'couldNotAsk' });
  });
});
