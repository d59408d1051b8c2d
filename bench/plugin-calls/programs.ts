/** The clients and servers of the plugin measures: how each is made ready, started and ended. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** A command and its first arguments. */
export type Command = readonly [string, ...string[]];

/** What can be started here. A competitor whose tools are missing is absent. */
export interface Programs {
  readonly clients: Readonly<Record<string, Command>>;
  readonly servers: Readonly<Record<string, Command>>;
  readonly versions: Readonly<Record<string, string>>;
  /** Removes what was built. */
  close(): void;
}

/** Builds the Go programs in a temporary folder and installs grpc-js where its lock file lies. */
export function preparePrograms(): Programs {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
  const node = process.execPath;
  const clients: Record<string, Command> = { sallyport: [node, here('node/sallyport-client.mjs')] };
  const servers: Record<string, Command> = { sallyport: [node, here('node/sallyport-server.mjs')] };
  const versions: Record<string, string> = { node: process.version };
  try {
    console.log('building the Go programs');
    for (const name of ['client', 'server'])
      execFileSync('go', ['build', '-o', join(folder, name), `./${name}`], {
        cwd: here('go'),
        stdio: 'inherit',
      });
    clients['go'] = [join(folder, 'client')];
    servers['go'] = [join(folder, 'server')];
    versions['go'] = execFileSync('go', ['version'], { encoding: 'utf8' }).split(' ')[2]!;
    versions['grpc-go'] = /google\.golang\.org\/grpc (\S+)/.exec(
      readFileSync(here('go/go.mod'), 'utf8'),
    )![1]!;
  } catch (error) {
    console.log(`left out: Go (${error instanceof Error ? error.message : String(error)})`);
  }
  try {
    execFileSync('npm', ['ci', '--silent', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: here('grpc-js'),
      stdio: 'inherit',
    });
    clients['grpc-js'] = [node, here('grpc-js/client.mjs')];
    servers['grpc-js'] = [node, here('grpc-js/server.mjs')];
    const manifest = JSON.parse(readFileSync(here('grpc-js/package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    versions['grpc-js'] = manifest.dependencies['@grpc/grpc-js']!;
  } catch (error) {
    console.log(`left out: grpc-js (${error instanceof Error ? error.message : String(error)})`);
  }
  return {
    clients,
    servers,
    versions,
    close() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A server that runs until `stop`, which ends it by closing its standard input. */
export interface RunningServer {
  readonly pid: number;
  readonly ports: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

/** Starts a server and waits for the line that tells its ports. */
export async function startServer(command: Command): Promise<RunningServer> {
  const [program, ...args] = command;
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const line = await firstLine(child, program);
  return {
    pid: child.pid!,
    ports: JSON.parse(line) as Record<string, number>,
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin.end('.');
      await ended;
    },
  };
}

/** Runs a client to its end and answers the JSON line that it prints. */
export async function runClient<Figures>(command: Command, args: readonly string[]): Promise<Figures> {
  const [program, ...first] = command;
  const child = spawn(program, [...first, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const line = await firstLine(child, [program, ...first].join(' '));
  await ended;
  return JSON.parse(line) as Figures;
}

function firstLine(child: ChildProcess, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    createInterface(child.stdout!).once('line', resolve);
    child.once('error', reject);
    child.once('exit', (code) => {
      // The line may still be on its way.
      setImmediate(() => reject(new Error(`${name} ended with ${String(code)} and printed no line`)));
    });
  });
}

/** CPU time of a process so far, all threads, user and system, in microseconds. The kernel counts in hundredths of a second. */
export function cpuMicros(pid: number): number {
  return sumOfTicks(`/proc/${String(pid)}/stat`, ') ', [11, 12]);
}

/** CPU time that the machine has spent so far on anything but this process, its children that have ended, and `pid`. */
export function othersCpuMicros(pid: number): number {
  // user, nice, system, irq, softirq; of ourselves: our own and that of children that were waited for.
  const machine = sumOfTicks('/proc/stat', 'cpu  ', [0, 1, 2, 5, 6]);
  return machine - sumOfTicks('/proc/self/stat', ') ', [11, 12, 13, 14]) - cpuMicros(pid);
}

function sumOfTicks(file: string, behind: string, fields: readonly number[]): number {
  const [line = ''] = readFileSync(file, 'latin1').split(behind)[1]!.split('\n', 1);
  const numbers = line.split(' ').map(Number);
  return fields.reduce((sum, field) => sum + numbers[field]!, 0) * 10_000;
}

/** Resident memory of a process, in KiB. */
export function residentKib(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${String(pid)}/status`, 'latin1'))![1]);
}

/** The middle of the samples. */
export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
