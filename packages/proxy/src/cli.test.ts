import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { contractByKind, implement, servePlugins } from '@sallyport/plugin';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from './cli.ts';
import type { World } from './cli.ts';

let folder: string;
const closing: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sallyport-cli-'));
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true });
});

/** A world whose signals are given by hand. `running` resolves when the program waits for one. */
function createWorld(overrides: Partial<World> = {}) {
  const out: string[] = [];
  const err: string[] = [];
  let stop: (() => void) | undefined;
  let reload: (() => void) | undefined;
  let ready: () => void;
  const running = new Promise<void>((resolve) => (ready = resolve));
  const world: World = {
    env: {},
    stdin: Readable.from([]),
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    onStop(request) {
      stop = request;
      ready();
      return () => (stop = undefined);
    },
    onReload(request) {
      reload = request;
      return () => (reload = undefined);
    },
    searchFolders: [],
    drainMs: 10_000,
    ...overrides,
  };
  return { world, out, err, running, stop: () => stop?.(), reload: () => reload?.() };
}

/** A plugin that knows one user, over both transports. */
async function servePlugin(): Promise<number> {
  const auth = implement(contractByKind.auth, {
    authenticate: ({ username, password }) => ({ ok: username === 'me' && password === 'pw', user: 'me' }),
  });
  const server = await servePlugins([auth], { port: 0, token: 's3cret' });
  closing.push(() => server.close(0));
  return (server.address as { port: number }).port;
}

const socket = () => path.join(folder, 'proxy.sock');
const logFile = () => path.join(folder, 'log');
const log = () => readFileSync(logFile(), 'utf8');

/** A proxy at a unix socket, so that tests know where it is. */
const config = (plugin = '127.0.0.1:1', addr = socket(), output = logFile()) => `services:
- name: front
  addr: "${addr}"
  handler:
    type: http
    auther: users
  listener:
    type: ${addr.startsWith('/') ? 'unix' : 'tcp'}
authers:
- name: users
  plugin:
    type: grpc
    addr: ${plugin}
    token: s3cret
log:
  output: ${output}
  format: text
`;

function ask(password: string): Promise<number> {
  const origin = http.createServer((_request, response) => response.end('here'));
  return new Promise((resolve, reject) => {
    origin.listen(0, '127.0.0.1', () => {
      const { port } = origin.address() as AddressInfo;
      const credentials = Buffer.from(`me:${password}`).toString('base64');
      http
        .get({
          socketPath: socket(),
          path: `http://127.0.0.1:${String(port)}/`,
          headers: { 'proxy-authorization': `Basic ${credentials}` },
          agent: false,
        })
        .on('error', reject)
        .on('response', (response) => response.resume().on('end', () => resolve(response.statusCode!)));
    });
  }).finally(() => origin.close()) as Promise<number>;
}

describe('before anything runs', () => {
  test('help and version go to the output and end well', async () => {
    const { world, out, err } = createWorld();
    expect(await run(['--help'], world)).toBe(0);
    expect(out.join('\n')).toMatch(/sallyport -L http:\/\/:8080[^]*sallyport check gost\.yml/);
    expect(await run(['-V'], world)).toBe(0);
    expect(out.at(-1)).toMatch(/^sallyport \d+\.\d+\.\d+ \(node .*\)$/);
    expect(err).toEqual([]);
  });

  test.each([
    [[], /nothing to run/],
    [['-L', 'htp://:8080'], /^-L:1:1: unknown scheme `htp`; did you mean `http`\?$/],
    [['-F', 'http://a:1'], /^-F:1:1: no services are configured/],
    [['--hlep'], /did you mean `-help`/],
    [['-C', 'no-such-file.yml'], /^no-such-file\.yml:1:1: cannot be read: there is no such file$/],
    [['-C', '{"servces": []}'], /^-C:1:2: unknown key `servces`; did you mean `services`\?/],
  ])('%j is a mistake of whoever wrote it', async (args, message) => {
    const { world, out, err } = createWorld();
    expect(await run(args, world)).toBe(2);
    expect(err[0]).toMatch(message);
    expect(out).toEqual([]);
  });

  test('an unknown level in the environment is a mistake too', async () => {
    const { world, err } = createWorld({
      env: { GOST_LOGGER_LEVEL: 'loud' },
      stdin: Readable.from([config()]),
    });
    expect(await run(['-C', '-'], world)).toBe(2);
    expect(err.join()).toMatch(/GOST_LOGGER_LEVEL/);
  });

  test('a log file that cannot be opened is named with its line', async () => {
    const text = config(undefined, undefined, '/no/such/folder/x.log');
    const { world, err } = createWorld({ stdin: Readable.from([text]) });
    expect(await run(['-C', '-'], world)).toBe(2);
    expect(err).toEqual([
      'stdin:16:11: log.output: /no/such/folder/x.log cannot be opened: there is no such file',
    ]);
  });

  test('-O prints files and flags as one, with what is secret', async () => {
    const { world, out } = createWorld({ stdin: Readable.from(['SERVICES: [{ADDR: ":1", name: a}]']) });
    const code = await run(
      ['-C', '-', '-L', 'http://me:pw@:2?auther=grpc://s3cret@h:1?timeout=1s', '-O', 'json'],
      world,
    );
    expect(code).toBe(0);
    expect(JSON.parse(out.join('\n'))).toEqual({
      services: [
        { addr: ':1', name: 'a' },
        {
          name: 'service-0',
          addr: ':2',
          handler: { type: 'http', auther: 'auther-0', auth: { username: 'me', password: 'pw' } },
          listener: { type: 'tcp' },
        },
      ],
      authers: [{ name: 'auther-0', plugin: { type: 'grpc', addr: 'h:1', token: 's3cret', timeout: '1s' } }],
    });
    const yaml = createWorld();
    expect(await run(['-L', 'http://:2', '-O', 'yaml'], yaml.world)).toBe(0);
    expect(yaml.out.join('\n')).toMatch(/^services:\n {2}- name: service-0\n {4}addr: :2\n/);
  });
});

describe('check', () => {
  const file = () => path.join(folder, 'gost.yml');

  test('asks each plugin, and listens nowhere', async () => {
    const port = await servePlugin();
    writeFileSync(file(), config(`127.0.0.1:${String(port)}`, ':1'));
    const { world, out, err } = createWorld();
    expect(await run(['check', file()], world)).toBe(0);
    expect(out).toEqual([
      `auther users: 127.0.0.1:${String(port)}: answers`,
      `${file()}: good: 1 service, 1 plugin`,
    ]);
    expect(err).toEqual([]);
  });

  test('a plugin that cannot be asked is 1, a file that is wrong 2', async () => {
    writeFileSync(file(), config());
    const { world, out, err } = createWorld();
    expect(await run(['check', file()], world)).toBe(1);
    expect(out[0]).toMatch(/^auther users: 127\.0\.0\.1:1: cannot be asked: .*refused/);
    expect(out[1]).toBe(`${file()}: good, but 1 plugin cannot be asked: 1 service, 1 plugin`);
    writeFileSync(file(), config().replace('auther: users', 'auther: user'));
    expect(await run(['check', file()], world)).toBe(2);
    expect(err.at(-1)).toBe(
      `${file()}:6:13: services[0].handler.auther: front: auther \`user\` is not defined; defined: users; did you mean \`users\`?`,
    );
    writeFileSync(file(), config('"127.0.0.1:x"'));
    expect(await run(['check', file()], world)).toBe(2);
    expect(err.at(-1)).toMatch(`${file()}:13:11: authers[0].plugin.addr: `);
  });

  test('takes flags as well', async () => {
    const port = await servePlugin();
    const { world, out } = createWorld();
    const url = `http://:1?auther=plugin+http://s3cret@127.0.0.1:${String(port)}`;
    expect(await run(['check', '-L', url], world)).toBe(0);
    expect(out.at(-1)).toBe('-L: good: 1 service, 1 plugin');
  });
});

describe('running', () => {
  const start = (text: string, args: readonly string[] = ['-C', '-'], overrides: Partial<World> = {}) => {
    const made = createWorld({ stdin: Readable.from([text]), ...overrides });
    return { ...made, ended: run(args, made.world) };
  };
  /** A connection that is open, and whose end is known. */
  const connect = async () => {
    const client = net.connect(socket());
    const closed = new Promise((resolve) => client.on('error', () => undefined).on('close', resolve));
    await once(client, 'connect');
    client.resume();
    return { client, closed };
  };

  test('says what listens where, serves with the plugin, and stops when asked', async () => {
    const port = await servePlugin();
    const { ended, running, stop } = start(config(`127.0.0.1:${String(port)}`));
    await running;
    expect(await ask('pw')).toBe(200);
    expect(await ask('no')).toBe(407);
    stop();
    expect(await ended).toBe(0);
    expect(log()).toMatch(`INFO  front listening on ${socket()} (http over unix)`);
    expect(log()).toMatch(/INFO {2}stopped\n$/);
    expect(log()).not.toMatch(/s3cret/);
  });

  test('services and plugins of the command line do the same', async () => {
    const port = await servePlugin();
    const { ended, running, stop, err } = start('', [
      '-L',
      `http+unix://${socket()}?auther=grpc://s3cret@127.0.0.1:${String(port)}`,
      '-api',
      ':18080',
      '-C',
      `{"log": {"output": "${logFile()}", "format": "text"}}`,
    ]);
    await running;
    expect(await ask('pw')).toBe(200);
    expect(await ask('no')).toBe(407);
    stop();
    expect(await ended).toBe(0);
    expect(err).toEqual([]);
    expect(log()).toMatch(/WARN {2}GOST's -api \(the web API\) is not served by this version/);
  });

  test('is reloaded, from standard input as it was', async () => {
    const port = await servePlugin();
    const { ended, running, stop, reload } = start(config(`127.0.0.1:${String(port)}`));
    await running;
    reload();
    expect(await ask('pw')).toBe(200);
    stop();
    expect(await ended).toBe(0);
    expect(log()).toMatch(/reloading: SIGHUP[^]*reloaded; connections/);
  });

  test('an open connection may finish; asked once more, it is cut', async () => {
    for (const twice of [false, true]) {
      const { ended, running, stop } = start(config());
      await running;
      const { client, closed } = await connect();
      stop();
      if (twice) stop();
      else client.end();
      await closed;
      expect(await ended).toBe(0);
      expect(log()).toMatch(twice ? /INFO {2}stopped at once/ : /INFO {2}stopped\n/);
    }
  });

  test('a connection that does not end in time is cut', async () => {
    const port = await servePlugin();
    const { ended, running, stop } = start(config(`127.0.0.1:${String(port)}`), undefined, { drainMs: 20 });
    await running;
    // A tunnel to somebody who says nothing.
    const origin = net.createServer((peer) => peer.on('error', () => undefined)).listen(0, '127.0.0.1');
    closing.push(() => origin.close());
    await once(origin, 'listening');
    const { client, closed } = await connect();
    const { port: target } = origin.address() as AddressInfo;
    client.write(
      `CONNECT 127.0.0.1:${String(target)} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic ${Buffer.from('me:pw').toString('base64')}\r\n\r\n`,
    );
    await once(client, 'data');
    stop();
    await closed;
    expect(await ended).toBe(0);
    expect(log()).toMatch(/WARN {2}stopped; connections still open after 0\.02 s were cut/);
  });

  test('one address that cannot be had closes everything again', async () => {
    const busy = net.createServer().listen(0, '127.0.0.1');
    closing.push(() => busy.close());
    await once(busy, 'listening');
    const { port } = busy.address() as AddressInfo;
    const second = `- { name: second, addr: "127.0.0.1:${String(port)}", handler: { type: http, auther: users } }\n`;
    const { ended } = start(config().replace('authers:', `${second}authers:`));
    expect(await ended).toBe(1);
    await expect(connect()).rejects.toThrow(/ENOENT/);
    expect(log()).toMatch(/FATAL stdin:9:25: second: 127\.0\.0\.1:\d+ is in use by another program\n$/);
  });

  test('a plugin address that is none is named with its line', async () => {
    const { ended } = start(config('"127.0.0.1:x"'));
    expect(await ended).toBe(1);
    expect(log()).toMatch(/FATAL stdin:13:11: authers\[0\]\.plugin\.addr: /);
  });

  test('a configuration is searched where GOST searches', async () => {
    writeFileSync(path.join(folder, 'gost.yml'), config());
    const { ended, running, stop } = start('', [], { searchFolders: ['/no/such/folder', folder] });
    await running;
    stop();
    expect(await ended).toBe(0);
    expect(log()).toMatch(/configuration read from .*gost\.yml/);
  });

  test('flags are louder than the environment, and that is louder than the file', async () => {
    writeFileSync(path.join(folder, 'c.yml'), `${config()}  level: error\n`);
    for (const [args, env, expected] of [
      [['-D'], { GOST_LOGGER_LEVEL: 'fatal' }, /listening/],
      [[], { GOST_LOGGER_LEVEL: 'info', GOST_API: ':1' }, /GOST_API is set[^]*listening/],
      [[], {}, /^$/],
    ] as const) {
      writeFileSync(logFile(), '');
      const { ended, running, stop } = start('', [...args, '-C', path.join(folder, 'c.yml')], { env });
      await running;
      stop();
      await ended;
      expect(log()).toMatch(expected);
    }
  });
});
