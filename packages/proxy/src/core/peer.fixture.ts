import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** Closes what a test has opened, last first. */
export class Cleanup {
  readonly #tasks: (() => unknown)[] = [];

  add<T>(what: T, close: (what: T) => unknown): T {
    this.#tasks.push(() => close(what));
    return what;
  }

  async run(): Promise<void> {
    for (const task of this.#tasks.reverse()) await task();
    this.#tasks.length = 0;
  }
}

/** A peer that says exactly the bytes that it is told to say, and shows what it gets. */
export class Peer {
  readonly socket: Socket;
  #text = '';
  #ended = false;
  #error: NodeJS.ErrnoException | undefined;
  #watchers = new Set<() => void>();

  constructor(socket: Socket) {
    this.socket = socket;
    const changed = () => {
      for (const watcher of [...this.#watchers]) watcher();
    };
    socket
      .setEncoding('latin1')
      .on('data', (text: string) => {
        this.#text += text;
        changed();
      })
      .on('end', () => {
        this.#ended = true;
        changed();
      })
      .on('error', (error) => {
        this.#error = error;
        changed();
      })
      .on('close', changed);
  }

  /** Everything that came and was not taken. */
  get text(): string {
    return this.#text;
  }

  /** The code of the error that ended the connection. */
  get error(): string | undefined {
    return this.#error?.code;
  }

  say(text: string): this {
    this.socket.write(text, 'latin1');
    return this;
  }

  /** Takes and returns what came up to the end of the first match, once it is there. */
  async take(pattern: RegExp | string): Promise<string> {
    const end = () => {
      if (typeof pattern === 'string') {
        const at = this.#text.indexOf(pattern);
        return at < 0 ? -1 : at + pattern.length;
      }
      const match = pattern.exec(this.#text);
      return match === null ? -1 : match.index + match[0].length;
    };
    await this.#until(() => end() >= 0 || this.#over, `waiting for ${String(pattern)}`);
    if (end() < 0) throw new Error(`ended before ${String(pattern)}: ${JSON.stringify(this.#text)}`);
    const taken = this.#text.slice(0, end());
    this.#text = this.#text.slice(taken.length);
    return taken;
  }

  /** A head of HTTP, up to its empty line. */
  head(): Promise<string> {
    return this.take('\r\n\r\n');
  }

  /** Everything up to the end of the connection. */
  async all(): Promise<string> {
    await this.#until(() => this.#over, 'waiting for the end');
    return this.#text;
  }

  get #over(): boolean {
    return this.#ended || this.#error !== undefined || this.socket.destroyed;
  }

  #until(done: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        reject(new Error(`${what} for 10 s: ${JSON.stringify(this.#text)}`));
      }, 10_000);
      const look = () => {
        if (!done()) return;
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }
}

/** Connects to a port of this machine. */
export async function connectPeer(cleanup: Cleanup, port: number): Promise<Peer> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  cleanup.add(socket, () => socket.destroy());
  await once(socket, 'connect');
  return new Peer(socket);
}

/** An origin that does nothing by itself: each connection that it gets is a {@link Peer}. */
export interface TestOrigin {
  readonly port: number;
  /** The connections so far. */
  readonly peers: readonly Peer[];
  /** The next connection that nobody has taken yet. */
  next(): Promise<Peer>;
}

export async function startOrigin(cleanup: Cleanup): Promise<TestOrigin> {
  const peers: Peer[] = [];
  let taken = 0;
  const waiting: ((peer: Peer) => void)[] = [];
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const peer = new Peer(socket);
    peers.push(peer);
    waiting.shift()?.(peer);
  });
  server.listen(0, '127.0.0.1');
  cleanup.add(server, () => {
    server.close();
    for (const { socket } of peers) socket.destroy();
  });
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    peers,
    next() {
      const index = taken++;
      const peer = peers[index];
      return peer === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(peer);
    },
  };
}
