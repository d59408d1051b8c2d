// A real redis-server of the test's own: started on a port and a socket that nobody else has, ended by its own process.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A redis-server that runs, or did. Whoever started it calls `stop`. */
export interface RedisServer {
  /** Its port at 127.0.0.1; the same after `start`. */
  readonly port: number;
  /** `redis://127.0.0.1:PORT/0` */
  readonly url: string;
  /** Its unix socket; the same after `start`. */
  readonly socketPath: string;
  readonly pid: number;
  /** Ends it as a power cut does (SIGKILL): what was not on disk is gone, and nobody is told. Resolves when it has ended. */
  kill(): Promise<void>;
  /** Stops it from running (SIGSTOP): connections stay open, and nothing answers. */
  freeze(): void;
  /** The reverse of `freeze`. */
  thaw(): void;
  /** Starts it again at the same addresses, after `kill`; empty, unless it keeps its data. */
  start(): Promise<void>;
  /** Ends it for good and removes its folder. May be called whatever state it is in. */
  stop(): Promise<void>;
}

/** How a redis-server is started. */
export interface RedisOptions {
  /** Each write is on disk before it is answered, and there again after `kill` and `start`. Default: nothing is kept. */
  readonly keepsData?: boolean;
  /** More of its settings, such as `['--requirepass', 'gost']`. */
  readonly args?: readonly string[];
}

/** Why the tests that need a redis-server cannot run here; false where they can. Fits `skip` of node:test. */
export const noRedis: string | false =
  spawnSync('redis-server', ['--version']).status === 0
    ? false
    : 'redis-server is not installed: interop/install.sh says why';

const attempts = 5;
const startTimeoutMs = 10_000;

/** Starts a redis-server and resolves when it takes connections. Rejects with what it printed where it does not start. */
export async function startRedis({ keepsData = false, args = [] }: RedisOptions = {}): Promise<RedisServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'redis-'));
  const socketPath = path.join(folder, 'redis.sock');
  const persistence = keepsData ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  const run = (port: number): Promise<ChildProcess> =>
    launch([
      ...['--port', String(port), '--bind', '127.0.0.1', '--unixsocket', socketPath, '--dir', folder],
      ...['--save', '', '--daemonize', 'no', ...persistence, ...args],
    ]);

  let port = 0;
  let server: ChildProcess | undefined;
  for (let attempt = 1; server === undefined; attempt++) {
    port = await freePort();
    try {
      server = await run(port);
    } catch (error) {
      // Somebody may have taken the port in the meantime.
      if (attempt < attempts) continue;
      rmSync(folder, { recursive: true });
      throw error;
    }
  }

  const isRunning = (): boolean => server!.exitCode === null && server!.signalCode === null;
  const kill = async (): Promise<void> => {
    if (!isRunning()) return;
    const ended = once(server!, 'exit');
    server!.kill('SIGKILL');
    await ended;
  };
  return {
    port,
    url: `redis://127.0.0.1:${String(port)}/0`,
    socketPath,
    get pid() {
      return server!.pid!;
    },
    kill,
    freeze: () => void server!.kill('SIGSTOP'),
    thaw: () => void server!.kill('SIGCONT'),
    async start() {
      if (isRunning()) throw new Error('redis-server is running already');
      server = await run(port);
    },
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Runs redis-server until it says that it takes connections. */
function launch(args: readonly string[]): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const server = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const timer = setTimeout(() => server.kill('SIGKILL'), startTimeoutMs);
    const settle = (): void => {
      clearTimeout(timer);
      server.removeAllListeners();
      server.stdout.removeListener('data', look);
      // What it prints from now on is not kept, and must not fill the pipe.
      server.stdout.resume();
    };
    const fail = (cause: unknown): void => {
      settle();
      reject(new Error(`redis-server did not start: ${output}`, { cause }));
    };
    const look = (text: string): void => {
      output += text;
      if (!/ready to accept connections/i.test(output)) return;
      settle();
      // A test that ends in an unforeseen way leaves nothing running.
      const end = (): boolean => server.kill('SIGKILL');
      process.on('exit', end);
      server.once('exit', () => process.removeListener('exit', end));
      resolve(server);
    };
    server.stdout.setEncoding('utf8').on('data', look);
    server.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    server.once('error', fail);
    server.once('exit', fail);
  });
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as net.AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
