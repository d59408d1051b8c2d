/** What the measures of the proxy start: the proxies, and what they have around them. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Command } from '../plugin-calls/programs.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** What can be started here. */
export interface Programs {
  /** Each takes a file after `-C`. A competitor whose tools are missing is absent. */
  readonly proxies: Readonly<Record<string, Command>>;
  readonly load: Command;
  readonly peers: Command;
  readonly versions: Readonly<Record<string, string>>;
  /** Configurations and built programs lie here. */
  readonly folder: string;
  /** Removes what was built. */
  close(): void;
}

/**
 * Builds the Go programs, a real GOST among them, in a temporary folder. Where the environment variable `BENCH_BEFORE` names
 * another checkout of this repository, its built program is a competitor of the name `before`.
 */
export function preparePrograms(): Programs {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
  const build = (from: string, name: string, path: string) => {
    console.log(`building ${name}`);
    execFileSync('go', ['build', '-o', join(folder, name), path], { cwd: here(from), stdio: 'inherit' });
    return join(folder, name);
  };
  const launcher = here('../../packages/proxy/bin/sallyport.js');
  const proxies: Record<string, Command> = { sallyport: [process.execPath, launcher] };
  const before = process.env['BENCH_BEFORE'];
  if (before !== undefined) {
    const other = join(before, 'packages/proxy/bin/sallyport.js');
    if (!existsSync(other)) throw new Error(`BENCH_BEFORE: there is no ${other}`);
    proxies['before'] = [process.execPath, other];
  }
  const versions: Record<string, string> = {
    node: process.version,
    go: execFileSync('go', ['version'], { encoding: 'utf8' }).split(' ')[2]!,
    'grpc-go': versionIn('go/go.mod', 'google.golang.org/grpc'),
  };
  proxies['bare node:net'] = [process.execPath, here('bare-forwarder.mjs')];
  const gost = buildGost(folder);
  if (gost !== undefined) {
    proxies['gost'] = [gost.program];
    versions['go-gost/x'] = gost.version;
  }
  return {
    proxies,
    load: [build('go', 'load', './load')],
    peers: [build('go', 'peers', './peers')],
    versions,
    folder,
    close() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Builds a real GOST in this folder. Undefined, and a line that says why, where it cannot be built. */
export function buildGost(
  folder: string,
): { readonly program: string; readonly version: string } | undefined {
  const source = '../../interop/gost/host';
  try {
    console.log('building gost');
    execFileSync('go', ['build', '-o', join(folder, 'gost'), '.'], { cwd: here(source), stdio: 'inherit' });
    return {
      program: join(folder, 'gost'),
      version: versionIn(`${source}/go.mod`, 'github.com/go-gost/x'),
    };
  } catch (error) {
    console.log(`left out: GOST (${error instanceof Error ? error.message : String(error)})`);
    return undefined;
  }
}

function versionIn(file: string, module: string): string {
  return new RegExp(`${module} (\\S+)`).exec(readFileSync(here(file), 'utf8'))![1]!;
}

/** A running proxy. Whoever started it calls `stop`. */
export interface RunningProxy {
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts a proxy and waits until it accepts at `port`. `stop` rejects, with its last words, when it has ended by itself. */
export async function startProxy(
  [program, ...args]: Command,
  file: string,
  port: number,
): Promise<RunningProxy> {
  const child = spawn(program, [...args, '-C', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-4000)));
  let over: string | undefined;
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(String(error)));
    child.once('close', (code, signal) => resolve(`${String(code ?? signal)}\n${words}`));
  }).then((how) => {
    over = how;
  });
  const until = performance.now() + 10_000;
  while (!(await accepts(port))) {
    if (over !== undefined || performance.now() > until) {
      child.kill('SIGKILL');
      throw new Error(`${[program, ...args, '-C', file].join(' ')} does not listen: ${over ?? words}`);
    }
    await delay(20);
  }
  return {
    pid: child.pid!,
    async stop() {
      if (over !== undefined) throw new Error(`${program} ended by itself: ${over}`);
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
      await ended;
      clearTimeout(timer);
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A port that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** The ports of what a proxy has around it. */
export type PeerPorts = Readonly<Record<'echo' | 'sink' | 'source' | 'plugins' | 'late', number>>;

/** What a proxy has around it. Whoever started it calls `stop`. */
export interface Peers {
  readonly pid: number;
  readonly ports: PeerPorts;
  /** The calls of each kind of plugin since this was asked last. */
  calls(): Promise<Readonly<Record<string, number>>>;
  stop(): Promise<void>;
}

/** Starts the echo, the sink, the source and the plugins in one process. */
export async function startPeers([program, ...args]: Command): Promise<Peers> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  const lines = createInterface({ input: child.stdout });
  const next = () =>
    new Promise<Record<string, number>>((resolve) => {
      lines.once('line', (line) => resolve(JSON.parse(line) as Record<string, number>));
    });
  const ports = (await next()) as PeerPorts;
  return {
    pid: child.pid!,
    ports,
    calls() {
      const answer = next();
      child.stdin.write('\n');
      return answer;
    },
    async stop() {
      child.stdin.end();
      await ended;
    },
  };
}
