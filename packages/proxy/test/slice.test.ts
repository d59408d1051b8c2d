// The program itself, in a process of its own, with plugins that are served here: what a user sees.
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { contractByKind, implement, servePlugins } from '@sallyport/plugin';
import type { PluginServer } from '@sallyport/plugin';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSallyport } from './program.ts';
import type { Sallyport } from './program.ts';

let origin: http.Server;
const closing: (() => unknown)[] = [];
beforeAll(async () => {
  origin = http.createServer((request, response) => response.end(`saw ${request.method!} ${request.url!}`));
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  for (const close of closing.reverse()) await close();
  origin.closeAllConnections();
  origin.close();
});

const auther = implement(contractByKind.auth, {
  authenticate({ username, password }, { meta }) {
    const ok = username === 'gost' && password === 'gost';
    if (!ok) meta.reason = 'not in the book';
    return { ok, user: ok ? 'id-of-gost' : '' };
  },
});

const startPlugin = async (port = 0): Promise<PluginServer & { port: number }> => {
  const server = await servePlugins([auther], { port, token: 'secret' });
  closing.push(() => server.close(0));
  return { ...server, port: (server.address as { port: number }).port };
};

const startProxy = async (plugin: object): Promise<Sallyport> => {
  const proxy = await startSallyport(
    JSON.stringify({
      services: [{ name: 'front', addr: '127.0.0.1:0', handler: { type: 'http', auther: 'users' } }],
      authers: [{ name: 'users', plugin: { token: 'secret', ...plugin } }],
    }),
  );
  closing.push(() => proxy.stop());
  return proxy;
};

/** One request through the proxy; for CONNECT also what came through the tunnel. */
function ask(
  port: number,
  method: 'GET' | 'CONNECT',
  credentials?: string,
): Promise<{ status: number; body: string; headers: http.IncomingHttpHeaders }> {
  const target = `127.0.0.1:${String((origin.address() as AddressInfo).port)}`;
  return new Promise((resolve, reject) => {
    const request = http.request({
      ...{ host: '127.0.0.1', port, method, agent: false, timeout: 10_000 },
      path: method === 'CONNECT' ? target : `http://${target}/page`,
      headers: {
        host: target,
        ...(credentials !== undefined && {
          'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}`,
        }),
      },
    });
    const read = (response: http.IncomingMessage) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode!, body, headers: response.headers }));
    };
    request.on('connect', (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        resolve({ status: response.statusCode!, body: '', headers: response.headers });
        return;
      }
      const createConnection = () => socket as net.Socket;
      http.get({ host: '127.0.0.1', path: '/page', createConnection }, read).on('error', reject);
    });
    request.on('response', read).on('error', reject);
    request.on('timeout', () => request.destroy(new Error('no answer in 10 s')));
    request.end();
  });
}

const bothWays = async (port: number, credentials: string | undefined, status: number) => {
  for (const method of ['GET', 'CONNECT'] as const) {
    const answer = await ask(port, method, credentials);
    expect(answer.status, `${method} as ${String(credentials)}`).toBe(status);
    if (status === 200) expect(answer.body).toBe('saw GET /page');
    else expect(answer.headers['proxy-authenticate']).toMatch(/^Basic realm=/);
  }
};

describe.each(['grpc', 'http'] as const)('a plugin over %s says who may come in', (type) => {
  test('the right password, a wrong one, none; each decision is one line', async () => {
    const plugin = await startPlugin();
    const proxy = await startProxy({ type, addr: plugin.addr });
    await bothWays(proxy.port, 'gost:gost', 200);
    await bothWays(proxy.port, 'gost:wrong', 407);
    await bothWays(proxy.port, undefined, 407);
    const yes = JSON.parse(await proxy.line(/says yes/)) as Record<string, unknown>;
    expect(yes).toMatchObject({
      ...{ level: 'info', service: 'front', by: 'users', decision: 'yes', source: 'live' },
      ...{ username: 'gost', user: 'id-of-gost' },
    });
    expect(yes.endpoint).toContain(plugin.addr);
    expect(yes.ms).toEqual(expect.any(Number));
    const no = JSON.parse(await proxy.line(/says no/)) as Record<string, unknown>;
    expect(no).toMatchObject({ decision: 'no', reason: 'not in the book', username: 'gost' });
    expect(no.msg).toMatch(/^users says no to "gost" \(.*, live, [\d.]+ ms\): not in the book$/);
    expect(await proxy.stop()).toBe(0);
    const decisions = proxy.lines.filter((line) => line.includes('"decision"'));
    expect(decisions).toHaveLength(6);
    expect(proxy.lines.join('\n')).not.toMatch(/secret|wrong"|Z29zd/);
  });

  test('killed, nobody gets in and the log says why; back, it is used again within one second', async () => {
    const first = await startPlugin();
    const proxy = await startProxy({ type, addr: first.addr });
    await bothWays(proxy.port, 'gost:gost', 200);
    await first.close(0);
    for (let i = 0; i < 10; i++) await bothWays(proxy.port, 'gost:gost', 407);
    const line = JSON.parse(await proxy.line(/could not ask/)) as Record<string, unknown>;
    expect(line).toMatchObject({ level: 'warn', decision: 'couldNotAsk', code: 'couldNotAsk', at: 'plugin' });
    expect(line.msg).toMatch(/^could not ask users about "gost" .*(refused|closed)/);
    await startPlugin(first.port);
    const back = Date.now();
    while ((await ask(proxy.port, 'GET', 'gost:gost')).status !== 200) {
      expect(Date.now() - back).toBeLessThan(1000);
      await wait(20);
    }
    expect(await proxy.stop()).toBe(0);
  });
});

test('`tls: {}` before a plugin without TLS: nobody gets in, and the log says which line to remove', async () => {
  const asked: Buffer[] = [];
  const plaintext = net.createServer((socket) => {
    socket
      .on('error', () => undefined)
      .on('data', (bytes) => {
        asked.push(bytes);
        // What a gRPC server says to bytes that are no HTTP/2: SETTINGS and GOAWAY in the clear.
        socket.end(Buffer.from('000000040000000000', 'hex'));
      });
  });
  await new Promise<void>((resolve) => plaintext.listen(0, '127.0.0.1', resolve));
  closing.push(() => plaintext.close());
  const addr = `127.0.0.1:${String((plaintext.address() as AddressInfo).port)}`;
  const proxy = await startProxy({ type: 'grpc', addr, tls: {} });
  const says = new RegExp(
    `${addr} does not speak TLS; to ask it in the clear remove \`tls\` \\(stdin:1:\\d+\\)`,
  );
  const atStart = await proxy.line(says);
  expect(atStart).toMatch(/auther users cannot be asked/);
  await bothWays(proxy.port, 'gost:gost', 407);
  const decision = await proxy.line(/could not ask users/);
  expect(decision).toMatch(says);
  expect(Buffer.concat(asked).toString('latin1')).not.toMatch(/gost|secret/);
});

test('a service without an auther lets everybody in', async () => {
  const proxy = await startSallyport(
    JSON.stringify({ services: [{ addr: '127.0.0.1:0', handler: { type: 'http' } }] }),
  );
  closing.push(() => proxy.stop());
  await bothWays(proxy.port, undefined, 200);
  await bothWays(proxy.port, 'any:body', 200);
  const { status, body } = await new Promise<{ status: number; body: string }>((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: proxy.port, path: 'http://127.2/', agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => resolve({ status: response.statusCode!, body: text }));
      })
      .on('error', reject);
  });
  expect(status).toBe(400);
  expect(body).toMatch(/^400 Bad Request\nThe target "127\.2" is an IPv4 address in another spelling/);
});
