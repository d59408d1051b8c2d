// Programs at the two ends of a tunnel, and who visits it.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startProgram } from '../program.ts';
import type { Program } from '../program.ts';

const launcher = fileURLToPath(new URL('../../bin/sallyport.js', import.meta.url));

/** The tunnels of these tests. */
export const ids = {
  web: '4d21094e-b74c-4916-86c1-d9fa36ea677b',
  db: 'b7a1c9d2-0000-4000-8000-00000000000b',
  dns: 'd0000000-0000-4000-8000-00000000000d',
} as const;

/** Closes in the opposite order what a test has opened. */
export class Scene {
  readonly #closing: (() => unknown)[] = [];
  readonly #ports = new Set<number>();

  add<T>(what: T, close: (what: T) => unknown): T {
    this.#closing.push(() => close(what));
    return what;
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.#closing.reverse()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    this.#closing.length = 0;
    if (failures.length > 0) throw failures[0];
  }

  /** Starts the built program with these arguments. */
  run(...args: readonly string[]): Program {
    return this.add(startProgram(process.execPath, [launcher, ...args]), (program) => program.stop());
  }

  /** Starts the built program with a configuration that a test may rewrite, and waits until its services listen. */
  async serve(config: object): Promise<Served> {
    const folder = this.add(mkdtempSync(path.join(tmpdir(), 'tunnels-')), (made) =>
      rmSync(made, { recursive: true }),
    );
    const file = path.join(folder, 'sallyport.json');
    const write = (wanted: object) => writeFileSync(file, JSON.stringify(wanted));
    write(config);
    const program = this.run('-C', file);
    for (const { name } of (config as { services: { name: string }[] }).services)
      await program.line(new RegExp(`\\b${name} listening on \\S`));
    return {
      ...program,
      async reload(wanted) {
        write(wanted);
        const before = countOf(program, /reloaded;|not reloaded/);
        program.process.kill('SIGHUP');
        await until(() => countOf(program, /reloaded;|not reloaded/) > before, 'the reload');
      },
    };
  }

  /** A port of this machine that nobody has, and that the system gives to nobody. */
  async port(): Promise<number> {
    for (;;) {
      const port = 10_000 + Math.floor(Math.random() * 20_000);
      if (this.#ports.has(port)) continue;
      this.#ports.add(port);
      const server = net.createServer();
      const isFree = await new Promise<boolean>((resolve) => {
        server.on('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
      });
      if (!isFree) continue;
      server.close();
      await once(server, 'close');
      return port;
    }
  }

  /** A web server which says who it is, and what it was asked. `/hang` is not answered. */
  async web(name: string, handle?: http.RequestListener): Promise<number> {
    const server = http.createServer(
      handle ??
        ((request, response) => {
          if (request.url === '/hang') return;
          response.end(`${name} saw ${request.method!} ${request.headers.host!}${request.url!}`);
        }),
    );
    server.on('upgrade', (request, socket) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
          'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
      );
      socket.on('data', (bytes: Buffer) => socket.write(bytes)).on('error', () => socket.destroy());
      socket.on('end', () => socket.end());
      void request;
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.add(server, async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    });
    return (server.address() as AddressInfo).port;
  }

  /** A UDP server that answers `name:` and what it got. */
  async echo(name: string): Promise<number> {
    const socket = this.add(createSocket('udp4').bind(0, '127.0.0.1'), (open) => open.close());
    await once(socket, 'listening');
    socket.on('message', (bytes, { port, address }) =>
      socket.send(`${name}:${bytes.toString()}`, port, address),
    );
    return socket.address().port;
  }
}

/** A program that a test may give another configuration. */
export interface Served extends Program {
  /** Rewrites the file, sends SIGHUP, and waits until the program has said what became of it. */
  reload(config: object): Promise<void>;
}

/** How many lines match. */
export function countOf({ lines }: Program, pattern: RegExp): number {
  return lines.filter((line) => pattern.test(line)).length;
}

/** Waits, at most ten seconds, until something is so. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string,
  ms = 10_000,
): Promise<void> {
  const late = Date.now() + ms;
  while (!(await isSo())) {
    if (Date.now() > late) throw new Error(`${what} did not come in ${String(ms / 1000)} s`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What an entrypoint answered. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: http.IncomingHttpHeaders;
}

/** Asks an entrypoint for a page of a host; over this agent's connections, or a new one. */
export function get(port: number, host: string, options: http.RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.get(
      {
        host: '127.0.0.1',
        port,
        agent: false,
        timeout: 10_000,
        path: '/',
        ...options,
        headers: { host, ...options.headers },
      },
      (response) => {
        let body = '';
        response
          .setEncoding('utf8')
          .on('data', (text: string) => (body += text))
          .on('end', () => resolve({ status: response.statusCode!, body, headers: response.headers }))
          .on('error', reject);
      },
    );
    request.on('error', reject).on('timeout', () => request.destroy(new Error(`${host} is silent`)));
  });
}

/** The status, and the answer where there is one: `200 web saw …`, `502`. */
export async function seen(port: number, host: string, options?: http.RequestOptions): Promise<string> {
  const { status, body } = await get(port, host, options);
  return status === 200 ? `200 ${body}` : String(status);
}

/** Waits until the host can be visited. */
export function untilPublic(port: number, host: string): Promise<void> {
  return until(
    async () => (await get(port, host).catch(() => undefined))?.status === 200,
    `${host} at an entrypoint`,
  );
}

/** One datagram there, and the first that comes back; undefined: none within the time. */
export async function ask(port: number, text: string, ms = 5000): Promise<string | undefined> {
  const socket = createSocket('udp4');
  try {
    socket.send(text, port, '127.0.0.1');
    const [bytes] = (await once(socket, 'message', { signal: AbortSignal.timeout(ms) })) as [Buffer];
    return bytes.toString();
  } catch {
    // Nothing came.
    return undefined;
  } finally {
    socket.close();
  }
}

/** What became of visits that were made one after the other. */
export interface Visits {
  /** Ends them. Resolves with how many there were, and what each that failed came to. */
  stop(): Promise<{ readonly count: number; readonly failures: readonly string[] }>;
  /** Resolves when so many more have been made. */
  more(count: number): Promise<void>;
}

/** Visits a host all the time, over a new connection each time, at two places at once. */
export function keepVisiting(port: number, host: string): Visits {
  const failures: string[] = [];
  let count = 0;
  let isOver = false;
  const visitor = async () => {
    while (!isOver) {
      const outcome = await seen(port, host).catch((error: unknown) => String(error));
      count++;
      if (!outcome.startsWith('200 ')) failures.push(outcome);
    }
  };
  const over = Promise.all([visitor(), visitor()]);
  return {
    async stop() {
      isOver = true;
      await over;
      return { count, failures };
    },
    more(wanted) {
      const enough = count + wanted;
      return until(() => count >= enough, `${String(wanted)} more visits`);
    },
  };
}
