import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import * as http from 'node:http';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { connectPlugin, contractByKind, implement, PluginError, servePlugins } from './index.ts';
import type { PluginServer, PluginTransport, ServePluginsOptions, ServedModule } from './index.ts';
import { createGrpcClient } from './wire/index.ts';

const opened: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
});

const auther = implement(contractByKind.auth, {
  authenticate({ username, password }, call) {
    call.meta.reason = 'because';
    call.meta.ttlMs = 5;
    call.meta.tags = ['a', 'b'];
    return { ok: password === 'right', user: username };
  },
});
const hosts = implement(contractByKind.hosts, { lookup: () => [] });
const ingress = implement(contractByKind.ingress, {
  getRule: ({ host }) => (host === 'a.test' ? 'tunnel-1' : undefined),
  setRule: () => true,
});

async function serve(
  modules: ServedModule[],
  options: Partial<ServePluginsOptions> = {},
): Promise<PluginServer> {
  const server = await servePlugins(modules, {
    ...(options.path === undefined ? { port: 0 } : {}),
    ...options,
  });
  opened.push(server);
  return server;
}

function connect(server: PluginServer, transport: PluginTransport, token?: string) {
  const plugin = connectPlugin(contractByKind.auth, {
    transport,
    addr: server.addr,
    ...(token === undefined ? {} : { token }),
  });
  opened.push(plugin);
  return plugin;
}

const ask = {
  username: 'gost',
  password: 'right',
  client: '192.0.2.1:1',
  service: 's',
  certificate: undefined,
};

/** One request of a client that is not ours. */
function request(
  server: PluginServer,
  options: http.RequestOptions,
  body = '',
): Promise<{ status: number; headers: http.IncomingHttpHeaders; body: string }> {
  const { address } = server;
  return new Promise((resolve, reject) => {
    const where = 'path' in address ? { socketPath: address.path } : { ...address };
    const sent = http.request({ ...where, agent: false, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: text }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

test.each(['grpc', 'http'] as const)(
  'one port answers over %s, with what travels beside the answer',
  async (transport) => {
    const server = await serve([auther]);
    const plugin = connect(server, transport);
    const meta = {};
    expect(await plugin.authenticate(ask, { meta })).toEqual({ ok: true, user: 'gost' });
    expect(meta).toEqual({ ttlMs: 5, reason: 'because', tags: ['a', 'b'] });
    expect(await plugin.authenticate({ ...ask, password: 'wrong' }, { meta: {} })).toMatchObject({
      ok: false,
    });
  },
);

test.each(['grpc', 'http'] as const)(
  'a missing or wrong token is unauthenticated over %s',
  async (transport) => {
    const server = await serve([auther], { token: 'secret' });
    expect(await connect(server, transport, 'secret').authenticate(ask, { meta: {} })).toMatchObject({
      ok: true,
    });
    for (const token of [undefined, 'Secret', 'secret2']) {
      const failure = connect(server, transport, token).authenticate(ask, { meta: {} });
      await expect(failure).rejects.toMatchObject({ code: 'unauthenticated' });
    }
  },
);

test.each(['grpc', 'http'] as const)('what a policy throws stays here, over %s', async (transport) => {
  const thrown: unknown[] = [];
  const failing = implement(contractByKind.auth, {
    authenticate: () => {
      throw new Error('the database password is hunter2');
    },
  });
  const server = await serve([failing], { onError: (error, method) => thrown.push(method, error) });
  const failure = await Promise.resolve(connect(server, transport).authenticate(ask, { meta: {} })).catch(
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(PluginError);
  expect(failure).toMatchObject({ code: 'internal' });
  expect(String(failure)).not.toContain('hunter2');
  expect(thrown).toEqual([
    'auth.authenticate',
    expect.objectContaining({ message: expect.stringContaining('hunter2') }),
  ]);
});

test.each([
  ['grpc', 'unreachable', 'unreachable', { grpcStatus: 14 }],
  ['grpc', 'timeout', 'timeout', { grpcStatus: 4 }],
  ['grpc', 'overloaded', 'overloaded', { grpcStatus: 8 }],
  ['grpc', 'unauthenticated', 'internal', { grpcStatus: 13 }],
  ['http', 'unreachable', 'unreachable', { httpStatus: 503 }],
  // A gateway's timeout says nothing of where the time went.
  ['http', 'timeout', 'unreachable', { httpStatus: 504 }],
  ['http', 'overloaded', 'overloaded', { httpStatus: 429 }],
  ['http', 'unauthenticated', 'internal', { httpStatus: 500 }],
] as const)(
  'over %s a policy that could not ask, %s, is told as %s',
  async (transport, thrown, code, status) => {
    const waiting = implement(contractByKind.auth, {
      authenticate: () => Promise.reject(new PluginError(thrown, 'redis://:hunter2@10.0.0.1 is gone')),
    });
    const server = await serve([waiting], { onError: () => {} });
    const failure = await Promise.resolve(connect(server, transport).authenticate(ask, { meta: {} })).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code, ...status });
    expect(String(failure)).not.toContain('hunter2');
  },
);

test('an answer of the wrong shape fails, and is told to onError', async () => {
  const thrown: unknown[] = [];
  const wrong = implement(contractByKind.auth, { authenticate: () => ({ ok: 'yes' }) as never });
  const server = await serve([wrong], { onError: (error) => thrown.push(error) });
  await expect(connect(server, 'http').authenticate(ask, { meta: {} })).rejects.toMatchObject({
    code: 'internal',
  });
  expect(String(thrown[0])).toMatch(/must answer true or false/);
});

test('a module alone answers on / too; several only on their own paths', async () => {
  const body = JSON.stringify(ask);
  const alone = await serve([auther]);
  expect(await request(alone, { method: 'POST', path: '/' }, body)).toMatchObject({ status: 200 });
  expect(await request(alone, { method: 'POST', path: '/auth' }, body)).toMatchObject({ status: 200 });
  const several = await serve([auther, hosts]);
  expect(await request(several, { method: 'POST', path: '/' }, body)).toMatchObject({ status: 404 });
  expect(await request(several, { method: 'POST', path: '/auth' }, body)).toMatchObject({ status: 200 });
});

test('a wrong path, verb or body says what is served', async () => {
  const server = await serve([auther, hosts]);
  const lost = await request(server, { method: 'POST', path: '/ath' });
  expect(lost.status).toBe(404);
  expect((JSON.parse(lost.body) as { error: string }).error).toContain('POST /auth, POST /hosts');
  const verb = await request(server, { method: 'PUT', path: '/auth' });
  expect(verb).toMatchObject({ status: 405, headers: { allow: 'POST' } });
  const garbage = await request(server, { method: 'POST', path: '/auth' }, '{');
  expect(garbage.status).toBe(400);
  expect(garbage.headers['content-type']).toBe('application/json');
});

test('an unknown method is UNIMPLEMENTED and says what is served', async () => {
  const server = await serve([auther]);
  const client = createGrpcClient({ endpoint: endpointOf(server) });
  opened.push(client);
  const failure = client.call({ path: '/proto.Hop/Select', message: Buffer.alloc(0) });
  await expect(failure).rejects.toMatchObject({
    grpcStatus: 12,
    message: expect.stringContaining('/proto.Authenticator/Authenticate'),
  });
});

test('GET / says what is served and how it is configured, and no secret', async () => {
  const server = await serve([auther, hosts], { token: 'secret' });
  const { status, body } = await request(server, { path: '/' });
  expect(status).toBe(200);
  expect(body).not.toContain('secret');
  const info = JSON.parse(body) as { modules: { module: string; configuration: object }[] };
  expect(info.modules.map(({ module }) => module)).toEqual(['auth', 'hosts']);
  expect(info.modules[0]!.configuration).toEqual({
    authers: [{ name: 'auth-0', plugin: { type: 'grpc', addr: server.addr, token: '(the token)' } }],
  });
});

test('a GET module alone on / is asked when there is a query', async () => {
  const server = await serve([ingress]);
  const asked = await request(server, { path: '/?host=a.test&service=s' });
  expect(JSON.parse(asked.body)).toEqual({ endpoint: 'tunnel-1' });
  expect(JSON.parse((await request(server, { path: '/' })).body)).toHaveProperty('modules');
});

test('the standard health check is answered without a token', async () => {
  const server = await serve([auther], { token: 'secret' });
  const client = createGrpcClient({ endpoint: endpointOf(server) });
  opened.push(client);
  const check = (service: string) => {
    const name = Buffer.from(service);
    const message = name.length === 0 ? name : Buffer.concat([Buffer.of(0x0a, name.length), name]);
    return client.call({ path: '/grpc.health.v1.Health/Check', message });
  };
  expect([...(await check('')).message]).toEqual([0x08, 1]);
  expect([...(await check('proto.Authenticator')).message]).toEqual([0x08, 1]);
  await expect(check('proto.Hop')).rejects.toMatchObject({ grpcStatus: 5 });
});

test.each(['grpc', 'http'] as const)('the signal fires when the asker leaves, over %s', async (transport) => {
  let gone = (): void => {};
  const left = new Promise<void>((resolve) => (gone = resolve));
  let asked = (): void => {};
  const arrived = new Promise<void>((resolve) => (asked = resolve));
  const slow = implement(contractByKind.auth, {
    authenticate: (_ask, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          gone();
          reject(new Error('left'));
        });
        asked();
      }),
  });
  const errors: unknown[] = [];
  const server = await serve([slow], { onError: (error) => errors.push(error) });
  const leaving = new AbortController();
  const call = connect(server, transport).authenticate(ask, { meta: {}, signal: leaving.signal });
  await arrived;
  leaving.abort();
  await expect(call).rejects.toMatchObject({ code: 'canceled' });
  await left;
  expect(errors).toEqual([]);
});

test.each(['grpc', 'http'] as const)('close finishes the calls that run, over %s', async (transport) => {
  let answer = (): void => {};
  let asked = (): void => {};
  const arrived = new Promise<void>((resolve) => (asked = resolve));
  const slow = implement(contractByKind.auth, {
    authenticate: async () => {
      asked();
      await new Promise<void>((resolve) => (answer = resolve));
      return { ok: true, user: 'late' };
    },
  });
  const server = await serve([slow]);
  const plugin = connect(server, transport);
  const call = plugin.authenticate(ask, { meta: {} });
  await arrived;
  const closed = server.close();
  answer();
  expect(await call).toEqual({ ok: true, user: 'late' });
  await closed;
  await expect(plugin.authenticate(ask, { meta: {} })).rejects.toMatchObject({ code: 'unreachable' });
});

test('a unix socket is served, also over the file of a program that was killed, but never over one that lives', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'serve-'));
  try {
    const path = join(folder, 'p.sock');
    // A program that ends without closing leaves the file.
    execFileSync(
      process.execPath,
      [
        '-e',
        `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
      ].slice(),
      { stdio: 'ignore' },
    );
  } catch {
    // Killed, as it was told to be.
  }
  const path = join(folder, 'p.sock');
  expect(existsSync(path)).toBe(true);
  const server = await serve([auther], { path });
  for (const transport of ['grpc', 'http'] as const)
    expect(await connect(server, transport).authenticate(ask, { meta: {} })).toMatchObject({ ok: true });
  await expect(servePlugins([auther], { path })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await server.close();
  rmSync(folder, { recursive: true });
});

test('connections that say nothing, or half a preface, are dropped at the end and harm nobody', async () => {
  const server = await serve([auther]);
  const { host, port } = server.address as { host: string; port: number };
  const sockets = ['', 'P', 'PRI * HTT'].map((text) => {
    const socket = net.connect(port, host);
    if (text !== '') socket.write(text);
    return socket;
  });
  const closed = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
  for (const socket of sockets) socket.on('error', () => {}).resume();
  expect(await connect(server, 'grpc').authenticate(ask, { meta: {} })).toMatchObject({ ok: true });
  await server.close();
  await Promise.all(closed);
});

test('what cannot be served is refused at once', async () => {
  await expect(servePlugins([], { port: 0 })).rejects.toThrow(/nothing to serve/);
  await expect(servePlugins([auther, auther], { port: 0 })).rejects.toThrow(/twice/);
  await expect(servePlugins([auther], {})).rejects.toThrow(/port or a path/);
  expect(() => implement(contractByKind.auth, {} as never)).toThrow(/lacks the function authenticate/);
});

function endpointOf(server: PluginServer) {
  const { host, port } = server.address as { host: string; port: number };
  return { url: `grpc://${server.addr}`, connect: { host, port }, authority: server.addr };
}
