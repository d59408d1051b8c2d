// Tunnels among the hosts of a network: the built program on a host, what a laptop publishes, visitors, and what they saw.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createAuthority } from '@sallyport/plugin/testing';
import type { Program } from '../../packages/proxy/test/program.ts';
import { createNetwork } from './netns.ts';
import type { Host, Network } from './netns.ts';

const launcher = fileURLToPath(new URL('../../packages/proxy/bin/sallyport.js', import.meta.url));
const pluginServer = fileURLToPath(new URL('../../examples/plugins/javascript/tunnels.mjs', import.meta.url));
const originProgram = fileURLToPath(new URL('origin.mjs', import.meta.url));
const visitorProgram = fileURLToPath(new URL('visitor.mjs', import.meta.url));

/** The tunnels of these tests, by what their clients forward to at their own machine. */
export const tunnels = {
  web: { id: '4d21094e-b74c-4916-86c1-d9fa36ea677b', host: 'web.example.com', target: '127.0.0.1:8080' },
  tls: { id: 'a1c9d2b7-0000-4000-8000-00000000000a', host: 'tls.example.com', target: '127.0.0.1:8443' },
  app: { id: 'c4a11ed0-0000-4000-8000-00000000000c', host: 'app.example.com', target: '127.0.0.1:8080' },
  ssh: { id: 'b7a1c9d2-0000-4000-8000-00000000000b', host: 'ssh.example.com', target: '127.0.0.1:7000' },
  dns: { id: 'd0000000-0000-4000-8000-00000000000d', host: 'dns.example.com', target: '127.0.0.1:5353' },
} as const;

/** Which of them. */
export type TunnelName = keyof typeof tunnels;

/** A visit of the load: what was seen of it. */
export interface Seen {
  readonly n: number;
  /** When it began, in milliseconds since 1970. */
  readonly at: number;
  readonly to: string;
  readonly ms: number;
  readonly status?: number;
  readonly body?: string;
  readonly error?: string;
}

/** A program that is given another configuration by SIGHUP. */
export interface Served extends Program {
  /** Resolves when the program has said what became of it. */
  reload(config: object): Promise<void>;
}

/** Visitors that come one after the other. */
export interface Load {
  /** Those who have been answered so far, or given up. */
  readonly seen: readonly Seen[];
  /** Waits for so many more that are answered with 200. */
  more(count: number, what?: (seen: Seen) => boolean): Promise<void>;
  /** Sends no more; resolves with all, when each has been answered. */
  stop(): Promise<readonly Seen[]>;
}

/** A connection that somebody keeps. */
export interface Held {
  /** Waits for so many more echoes. Rejects where the connection is lost meanwhile. */
  alive(echoes?: number): Promise<void>;
  /** Why it is over; undefined while it is not. */
  readonly lost: string | undefined;
  close(): Promise<unknown>;
}

/** A scene among these hosts. Whoever opens it closes it. */
export async function openScene(...names: readonly string[]): Promise<Scene> {
  return new Scene(await createNetwork(...names), mkdtempSync(path.join(tmpdir(), 'netns-')));
}

/** Hosts, and what runs on them. */
export class Scene {
  readonly #network: Network;
  readonly #folder: string;
  #files = 0;

  constructor(network: Network, folder: string) {
    this.#network = network;
    this.#folder = folder;
    const { cert, key } = createAuthority().issue({ names: ['tls.example.com'] });
    writeFileSync(this.#file('cert.pem'), cert);
    writeFileSync(this.#file('key.pem'), key);
  }

  host(name: string): Host {
    return this.#network.host(name);
  }

  /** `192.0.2.1:port`. */
  at(name: string, port: number): string {
    return `${this.host(name).address}:${String(port)}`;
  }

  async close(): Promise<void> {
    await this.#network.close();
    rmSync(this.#folder, { recursive: true });
  }

  /** Starts the built program with a configuration, and waits for a line. Default: that of a service which listens. */
  async serve(name: string, config: object, ready = /listening on/): Promise<Served> {
    const file = this.#file(`${String(this.#files++)}.json`);
    const write = (wanted: object) => {
      writeFileSync(file, JSON.stringify(wanted));
    };
    write(config);
    const program = this.host(name).start(process.execPath, [launcher, '-C', file]);
    await program.line(ready);
    return {
      ...program,
      async reload(wanted) {
        write(wanted);
        const before = countOf(program, /reloaded/);
        program.process.kill('SIGHUP');
        await until(() => countOf(program, /reloaded/) > before, 'the reload');
      },
    };
  }

  /** Starts the program with arguments, and waits for a line. */
  async run(name: string, ready: RegExp, ...args: readonly string[]): Promise<Program> {
    const program = this.host(name).start(process.execPath, [launcher, ...args]);
    await program.line(ready);
    return program;
  }

  /** What there is to publish at a host, under its name. */
  async publish(name: string): Promise<Program> {
    const args = [originProgram, name, this.#file('cert.pem'), this.#file('key.pem')];
    const program = this.host(name).start(process.execPath, args);
    await program.line(/ready$/);
    return program;
  }

  /** The plugin server that nodes share, at port 8000, with a Redis at the same host. */
  async plugin(name: string, ...args: readonly string[]): Promise<Program> {
    const all = [pluginServer, '--grpc', this.at(name, 8000), '--redis', `redis://${this.at(name, 6379)}/0`];
    const program = this.host(name).start(process.execPath, [...all, ...args]);
    await program.line(/^tunnels listening/);
    return program;
  }

  /** A Redis at port 6379, which keeps on its disk what it is told. */
  async redis(name: string): Promise<Program> {
    const args = ['--port', '6379', '--bind', this.host(name).address, '--protected-mode', 'no'];
    const kept = ['--dir', this.#folder, '--save', '', '--appendonly', 'yes', '--appendfsync', 'always'];
    const program = this.host(name).start('redis-server', [...args, ...kept]);
    await program.line(/Ready to accept connections/);
    return program;
  }

  /** What Redis at a host says to a command. */
  async askRedis(name: string, ...command: readonly string[]): Promise<string> {
    const { stdout, stderr, code } = await this.host(name).run('redis-cli', [
      '-h',
      this.host(name).address,
      ...command,
    ]);
    if (code !== 0) throw new Error(`redis-cli ${command.join(' ')}: ${stderr}${stdout}`);
    return stdout.trim();
  }

  /** What curl on a host sees of a page: `200 ada has web.example.com/`, `502`, or `curl 52` where nothing came. */
  async get(name: string, to: string, host: string, scheme: 'http' | 'https' = 'http'): Promise<string> {
    const port = scheme === 'http' ? '80' : '443';
    const { stdout, code } = await this.host(name).run('curl', [
      ...['-sk', '--noproxy', '*', '--max-time', '10', '-w', '\n%{http_code}'],
      ...['--connect-to', `${host}:${port}:${to}`, `${scheme}://${host}/`],
    ]);
    if (code !== 0) return `curl ${String(code)}`;
    const lines = stdout.trim().split('\n');
    const status = lines.pop()!;
    return status === '200' ? `200 ${lines.join('\n')}` : status;
  }

  /** Visitors of a tunnel's page (`http://host/`) at these addresses in turn, one every so many milliseconds. */
  load(name: string, url: string, everyMs: number, ...addresses: readonly string[]): Load {
    const program = this.#visitor(name, 'load', url, String(everyMs), ...addresses);
    const all = () => program.lines.map((line) => JSON.parse(line) as Seen);
    return {
      get seen() {
        return all();
      },
      async more(count, what = () => true) {
        const before = program.lines.length;
        const isMore = () =>
          all()
            .slice(before)
            .filter((one) => one.status === 200 && what(one)).length >= count;
        await until(isMore, `${String(count)} more visits: ${program.lines.slice(-3).join(' ')}`);
      },
      async stop() {
        await program.stop();
        return all();
      },
    };
  }

  /** Keeps a connection to an echo: of a tunnel's web server, or, where no host is named, of whatever is there. */
  hold(name: string, to: string, host = '-'): Held {
    return this.#held(this.#visitor(name, 'hold', host, to));
  }

  /** Asks an echo of datagrams again and again, from one socket. It is never lost. */
  ask(name: string, to: string): Held {
    return this.#held(this.#visitor(name, 'ask', to));
  }

  #held(program: Program): Held {
    const echoes = () => countOf(program, /"echoes"/);
    const lost = () => program.lines.find((line) => !line.includes('"echoes"'));
    return {
      get lost() {
        return lost();
      },
      async alive(count = 5) {
        const before = echoes();
        await until(
          () => {
            if (lost() !== undefined) throw new Error(`the connection that was held: ${lost()!}`);
            return echoes() >= before + count;
          },
          `${String(count)} more echoes`,
        );
      },
      close: () => program.stop('SIGKILL'),
    };
  }

  /** Sends so many bytes to an echo of connections. */
  async echo(name: string, to: string, bytes: number): Promise<unknown> {
    return this.#once(name, 'echo', to, String(bytes));
  }

  /** Sends datagrams of these sizes to an echo, from so many sockets at once. */
  async datagrams(name: string, peers: number, to: string, ...sizes: readonly number[]): Promise<unknown> {
    return this.#once(name, 'datagrams', String(peers), to, ...sizes.map(String));
  }

  async #once(name: string, ...args: readonly string[]): Promise<unknown> {
    const { stdout, stderr } = await this.host(name).run(process.execPath, [visitorProgram, ...args], 60_000);
    if (!stdout.startsWith('{')) throw new Error(`${args.join(' ')} saw nothing: ${stderr}${stdout}`);
    return JSON.parse(stdout) as unknown;
  }

  #visitor(name: string, ...args: readonly string[]): Program {
    return this.host(name).start(process.execPath, [visitorProgram, ...args]);
  }

  #file(name: string): string {
    return path.join(this.#folder, name);
  }
}

/** How many lines of a program match. */
export function countOf({ lines }: Program, pattern: RegExp): number {
  return lines.filter((line) => pattern.test(line)).length;
}

/** Waits for a line after those that are there. */
export async function nextLine(program: Program, pattern: RegExp, ms?: number): Promise<string> {
  const before = program.lines.length;
  const next = () => program.lines.slice(before).find((line) => pattern.test(line));
  await until(() => next() !== undefined, `a line like ${String(pattern)}`, ms);
  return next()!;
}

/** Waits, 15 s at most where no other bound is given, until something is so at another machine. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string,
  ms = 15_000,
): Promise<void> {
  const late = performance.now() + ms;
  while (!(await isSo())) {
    if (performance.now() > late) throw new Error(`${what} did not come in ${String(ms / 1000)} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
