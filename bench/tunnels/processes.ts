/** The processes of the measure `tunnels`, and what each of them holds. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { cpuMicros, residentKib } from '../plugin-calls/programs.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** What a process holds. */
export interface Holding {
  readonly residentMib: number;
  /** After everything that can be collected was; absent where it is not ours. */
  readonly heapMib?: number;
  /** Open descriptors of every kind. */
  readonly descriptors: number;
  /** Those of them that are TCP connections, in any state but LISTEN. */
  readonly connections: number;
}

/** A proxy that runs. Whoever started it calls `stop`. */
export interface Proxy {
  readonly pid: number;
  /** Of ours after a full collection. */
  holding(): Promise<Holding>;
  /** CPU time so far, in seconds. */
  cpuSeconds(): number;
  /** SIGTERM, and SIGKILL after 20 s. Rejects where it ended by itself, or with another code than 0. */
  stop(): Promise<void>;
}

/** Starts a proxy with a file: a command that takes `-C`, or undefined for ours, which is told to say what it holds. */
export function startProxy(file: string, other?: string): Proxy {
  const launcher = here('../../packages/proxy/bin/sallyport.js');
  const [program, ...args] =
    other === undefined
      ? [process.execPath, '--expose-gc', '--import', here('report-memory.mjs'), launcher, '-C', file]
      : [other, '-C', file];
  const child = spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  const reports = createInterface({ input: child.stdio[3] as Readable });
  const { ended, hasEnded } = endOf(child);
  const pid = child.pid!;
  return {
    pid,
    async holding() {
      let heap: { heapMib: number } | undefined;
      if (other === undefined) {
        const line = nextLine(reports);
        child.kill('SIGUSR2');
        const { heapUsed, external } = JSON.parse(await line) as NodeJS.MemoryUsage;
        heap = { heapMib: (heapUsed + external) / 2 ** 20 };
      }
      return { residentMib: residentKib(pid) / 1024, ...heap, ...descriptorsOf(pid) };
    },
    cpuSeconds: () => cpuMicros(pid) / 1e6,
    async stop() {
      if (hasEnded()) throw new Error(`${program!} ended by itself: ${await ended}`);
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      const how = await ended;
      clearTimeout(timer);
      if (how[0] !== '0') throw new Error(`${program!} ended with ${how}`);
    },
  };
}

function endOf(child: ChildProcess): { ended: Promise<string>; hasEnded: () => boolean } {
  let words = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-4000)));
  let isOver = false;
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(String(error)));
    child.once('close', (code, signal) => resolve(`${String(code ?? signal)}\n${words}`));
  });
  void ended.then(() => (isOver = true));
  return { ended, hasEnded: () => isOver };
}

function descriptorsOf(pid: number): Pick<Holding, 'descriptors' | 'connections'> {
  const folder = `/proc/${String(pid)}/fd`;
  const sockets = new Set<string>();
  let descriptors = 0;
  for (const name of readdirSync(folder)) {
    descriptors++;
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(join(folder, name)))?.[1];
    if (inode !== undefined) sockets.add(inode);
  }
  let connections = 0;
  for (const table of ['tcp', 'tcp6']) {
    const lines = readFileSync(`/proc/${String(pid)}/net/${table}`, 'latin1')
      .trim()
      .split('\n')
      .slice(1);
    for (const line of lines) {
      const fields = line.trim().split(/\s+/);
      // 0A is LISTEN. A table that changes while it is read may name one twice.
      if (fields[3] !== '0A' && sockets.delete(fields[9]!)) connections++;
    }
  }
  return { descriptors, connections };
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // Closed since the folder was read.
    return '';
  }
}

function nextLine(lines: Interface): Promise<string> {
  return new Promise((resolve) => {
    lines.once('line', resolve);
  });
}

/** What visitors have met with. */
export interface Visits {
  readonly answered: number;
  readonly failures: number;
  /** What those who stay have met with meanwhile. */
  readonly whileStaying?: Visits;
  readonly firstFailure?: string;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly maxMs?: number;
  /** Those who stay. */
  readonly open?: number;
}

/** The visitors, and the web server behind the tunnels. Whoever started them calls `stop`. */
export interface Visitors {
  readonly pid: number;
  /** The web server's, on every address of 127.0.0.0/8. */
  readonly port: number;
  /** Gives an order and waits until it is done; `visitors/main.go` says which there are. */
  order(...words: readonly (string | number)[]): Promise<Visits>;
  stop(): Promise<void>;
}

/** Builds the visitors in this folder and starts them. */
export async function startVisitors(folder: string): Promise<Visitors> {
  const program = join(folder, 'visitors');
  execFileSync('go', ['build', '-o', program, './visitors'], { cwd: here('go'), stdio: 'inherit' });
  const child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  const lines = createInterface({ input: child.stdout });
  const port = Number(await nextLine(lines));
  return {
    pid: child.pid!,
    port,
    async order(...words) {
      const answer = nextLine(lines);
      child.stdin.write(`${words.join(' ')}\n`);
      return JSON.parse(await answer) as Visits;
    },
    async stop() {
      child.stdin.end();
      await ended;
    },
  };
}
