import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { PluginError } from '@sallyport/plugin';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from './cli.ts';
import type { World } from './cli.ts';
import type { Parts, PluginOptions, ServiceOptions } from './config/parts.ts';
import { ProxyError } from './core/errors.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sallyport-cli-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Services that accept and hold connections, and plugins that say no or cannot be reached. */
function createParts() {
  const asked: PluginOptions[] = [];
  const started: ServiceOptions[] = [];
  const open = new Set<string>();
  const parts: Parts = {
    connectAuther(options) {
      if (options.addresses[0] === 'bad') throw new PluginError('unreachable', 'this is no address');
      asked.push(options);
      open.add(options.name);
      return {
        policy: { authenticate: () => ({ ok: false, user: '' }) },
        check: () => Promise.reject(new PluginError('unreachable', '127.0.0.1:1 does not speak TLS')),
        close: () => Promise.resolve(void open.delete(options.name)),
      };
    },
    listAuther: () => ({ authenticate: () => ({ ok: false, user: '' }) }),
    combineAuthers: (members) => members[0]!.policy,
    async startService(options) {
      const sockets = new Set<net.Socket>();
      const server = net.createServer((socket) => {
        sockets.add(socket.on('close', () => sockets.delete(socket)).on('error', () => undefined));
      });
      server.listen(options.address.port, options.address.host || undefined);
      try {
        await once(server, 'listening');
      } catch (cause) {
        throw new ProxyError('addressInUse', 'self', `port ${String(options.address.port)} is in use`, {
          cause,
        });
      }
      started.push(options);
      open.add(options.name);
      const closed = once(server, 'close').then(() => void open.delete(options.name));
      return {
        address: { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port },
        async stop() {
          server.close();
          await closed;
        },
        async close() {
          server.close();
          for (const socket of sockets) socket.destroy();
          await closed;
        },
      };
    },
  };
  return { parts, asked, started, open };
}

function createWorld(overrides: Partial<World> = {}) {
  const made = createParts();
  const out: string[] = [];
  const err: string[] = [];
  let stop: (() => void) | undefined;
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
    parts: made.parts,
    searchFolders: [],
    drainMs: 10_000,
    ...overrides,
  };
  return { ...made, world, out, err, running, stop: () => stop?.() };
}

const config = (file: string, addr = '127.0.0.1:0') => `services:
- name: front
  addr: "${addr}"
  handler:
    type: http
    auther: users
authers:
- name: users
  plugin:
    type: grpc
    addr: 127.0.0.1:1
    token: s3cret
    tls: {}
log:
  output: ${file}
  format: text
`;

describe('before anything runs', () => {
  test('help and version go to the output and end well', async () => {
    const { world, out, err } = createWorld();
    expect(await run(['--help'], world)).toBe(0);
    expect(out.join('\n')).toMatch(/sallyport check gost\.yml[^]*curl -x/);
    expect(await run(['-V'], world)).toBe(0);
    expect(out.at(-1)).toMatch(/^sallyport \d+\.\d+\.\d+ \(node .*\)$/);
    expect(err).toEqual([]);
  });

  test.each([
    [[], /nothing to run/],
    [['-L', ':8080'], /GOST's -L/],
    [['--hlep'], /did you mean `-help`/],
    [['-C', 'no-such-file.yml'], /^no-such-file\.yml:1:1: cannot be read: there is no such file$/],
    [['-C', '{"servces": []}'], /^-C:1:2: unknown key `servces`; did you mean `services`\?/],
  ])('%j is a mistake of whoever wrote it', async (args, message) => {
    const { world, out, err, started } = createWorld();
    expect(await run(args, world)).toBe(2);
    expect(err[0]).toMatch(message);
    expect(out).toEqual([]);
    expect(started).toEqual([]);
  });

  test('an unknown level in the environment is a mistake too', async () => {
    const { world, err } = createWorld({
      env: { GOST_LOGGER_LEVEL: 'loud' },
      stdin: Readable.from([config('none')]),
    });
    expect(await run(['-C', '-'], world)).toBe(2);
    expect(err.join()).toMatch(/GOST_LOGGER_LEVEL/);
  });

  test('a log file that cannot be opened is named with its line', async () => {
    const { world, err } = createWorld({ stdin: Readable.from([config('/no/such/folder/x.log')]) });
    expect(await run(['-C', '-'], world)).toBe(2);
    expect(err).toEqual([
      'stdin:15:11: log.output: /no/such/folder/x.log cannot be opened: there is no such file',
    ]);
  });

  test('check reports and starts nothing', async () => {
    const file = path.join(folder, 'gost.yml');
    writeFileSync(file, config('none').replace('    tls', '\ttls'));
    const { world, out, err, started } = createWorld();
    expect(await run(['check', file], world)).toBe(0);
    expect(out).toEqual([`${file}: good: 1 service, 1 auther`]);
    expect(err.join()).toMatch(/^warning: .*:13:1: tabs in the indentation of line 13/);
    writeFileSync(file, config('none').replace('auther: users', 'auther: user'));
    expect(await run(['check', file], world)).toBe(2);
    expect(err.at(-1)).toBe(
      `${file}:6:13: services[0].handler.auther: front: auther \`user\` is not defined; defined: users; did you mean \`users\`?`,
    );
    expect(started).toEqual([]);
  });
});

describe('running', () => {
  const start = (file: string, text: string, overrides: Partial<World> = {}) => {
    const made = createWorld({ stdin: Readable.from([text]), ...overrides });
    const ended = run(['-C', '-'], made.world);
    return { ...made, ended, log: () => readFileSync(file, 'utf8') };
  };

  test('says what listens where, warns of a plugin that will not do over TLS, and stops when asked', async () => {
    const file = path.join(folder, 'log');
    const { ended, running, stop, open, log, asked } = start(file, config(file));
    await running;
    expect([...open]).toEqual(['users', 'front']);
    stop();
    expect(await ended).toBe(0);
    expect(open.size).toBe(0);
    expect(log()).toMatch(/INFO {2}front listening on 127\.0\.0\.1:\d+ \(http over tcp\)/);
    expect(log()).toMatch(
      /WARN {2}auther users cannot be asked: 127\.0\.0\.1:1 does not speak TLS; to ask it in the clear remove `tls` \(stdin:13:5\); to ask it over TLS give the plugin's program a certificate/,
    );
    expect(log()).not.toMatch(/s3cret/);
    expect(asked[0]).toMatchObject({
      transport: 'grpc',
      addresses: ['127.0.0.1:1'],
      token: 's3cret',
      tls: {},
    });
  });

  test('an open connection may finish; asked once more, it is cut', async () => {
    const file = path.join(folder, 'log');
    for (const twice of [false, true]) {
      const { ended, running, stop, started, log, parts } = start(file, config(file));
      const listening = new Promise<number>((resolve) => {
        const { startService } = parts;
        parts.startService = async (options) => {
          const service = await startService(options);
          resolve(service.address.port);
          return service;
        };
      });
      const socket = net.connect(await listening, '127.0.0.1');
      const closed = once(socket, 'close');
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      await running;
      stop();
      if (twice) stop();
      else socket.end();
      socket.resume();
      await closed;
      expect(await ended).toBe(0);
      expect(started).toHaveLength(1);
      expect(log()).toMatch(twice ? /INFO {2}stopped at once/ : /INFO {2}stopped\n/);
    }
  });

  test('a connection that does not end in time is cut', async () => {
    const file = path.join(folder, 'log');
    const { ended, running, stop, log, parts } = start(file, config(file), { drainMs: 20 });
    const listening = new Promise<number>((resolve) => {
      const { startService } = parts;
      parts.startService = async (options) => {
        const service = await startService(options);
        resolve(service.address.port);
        return service;
      };
    });
    const socket = net.connect(await listening, '127.0.0.1').on('error', () => undefined);
    const closed = once(socket, 'close');
    await once(socket, 'connect');
    await running;
    stop();
    await closed;
    expect(await ended).toBe(0);
    expect(log()).toMatch(/WARN {2}stopped; connections still open after 0\.02 s were cut/);
  });

  test('one port that cannot be had closes everything again', async () => {
    const busy = net.createServer().listen(0, '127.0.0.1');
    await once(busy, 'listening');
    const file = path.join(folder, 'log');
    const { port } = busy.address() as net.AddressInfo;
    const second = `- { name: second, addr: "127.0.0.1:${String(port)}", handler: { type: http, auther: users } }\n`;
    const { ended, open, log } = start(file, config(file).replace('authers:', `${second}authers:`));
    expect(await ended).toBe(1);
    expect(open.size).toBe(0);
    expect(log()).toMatch(new RegExp(`FATAL stdin:7:25: second: port ${String(port)} is in use\n$`));
    busy.close();
  });

  test('a plugin address that is none is named with its line', async () => {
    const file = path.join(folder, 'log');
    const { ended, log } = start(file, config(file).replace('127.0.0.1:1', 'bad'));
    expect(await ended).toBe(1);
    expect(log()).toMatch(/FATAL stdin:11:11: authers\[0\]\.plugin\.addr: this is no address\n$/);
  });

  test('a configuration is searched where GOST searches', async () => {
    const file = path.join(folder, 'log');
    writeFileSync(path.join(folder, 'gost.yml'), config(file));
    const { world, running, stop } = createWorld({ searchFolders: ['/no/such/folder', folder] });
    const ended = run([], world);
    await running;
    stop();
    expect(await ended).toBe(0);
    expect(readFileSync(file, 'utf8')).toMatch(/configuration read from .*gost\.yml/);
  });

  test('flags are louder than the environment, and that is louder than the file', async () => {
    const file = path.join(folder, 'log');
    writeFileSync(path.join(folder, 'c.yml'), `${config(file)}  level: error\n`);
    for (const [args, env, expected] of [
      [['-D'], { GOST_LOGGER_LEVEL: 'fatal' }, /listening/],
      [[], { GOST_LOGGER_LEVEL: 'info' }, /listening/],
      [[], {}, /^$/],
    ] as const) {
      writeFileSync(file, '');
      const { world, running, stop } = createWorld({ env });
      const ended = run([...args, '-C', path.join(folder, 'c.yml')], world);
      await running;
      stop();
      await ended;
      expect(readFileSync(file, 'utf8')).toMatch(expected);
    }
  });
});
