// What stands at both ends of a reverse tunnel: the server behind it, and visitors who try everything that a connection can do.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { createLinkFiles } from '../common/links.ts';
import { dial } from './traffic.ts';

const waitMs = 15_000;
const welcome = Buffer.from('welcome\n');
const mebibyte = 1024 * 1024;

/**
 * A server that speaks first, and then does what it is asked for: `echo N` sends back N bytes and ends, `digest` says the hash of all
 * that came until the visitor ended its direction, `leave` breaks the connection, `stay` says `ok` and waits for the visitor's end.
 */
export interface FarEnd {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** Waits until `count` connections have been there since the server began; each is counted when it is closed. */
  gone(count: number): Promise<void>;
  /** Connections that are closed by now. */
  goneCount(): number;
  close(): Promise<void>;
}

/** Starts the server. Whoever started it closes it. */
export async function startFarEnd(): Promise<FarEnd> {
  const events = new EventEmitter();
  let goneCount = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    // Whoever breaks a connection looks for it at the other end.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      sockets.delete(socket);
      goneCount += 1;
      events.emit('gone');
    });
    socket.write(welcome);
    void serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${String((server.address() as net.AddressInfo).port)}`,
    goneCount: () => goneCount,
    async gone(count) {
      const signal = AbortSignal.timeout(waitMs);
      while (goneCount < count) {
        await once(events, 'gone', { signal }).catch(() => {
          assert.fail(`${String(goneCount)} connections have ended, and not ${String(count)}`);
        });
      }
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Starts an HTTPS server that answers with the server name that its visitor said. Whoever started it closes it. */
export async function startSecure(): Promise<{ address: string; close(): Promise<void> }> {
  const files = createLinkFiles();
  const server = tls.createServer(files.server, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', () => {
      const { servername } = socket as tls.TLSSocket & { servername?: string };
      const body = servername ?? '';
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${String((server.address() as net.AddressInfo).port)}`,
    async close() {
      files.remove();
      server.close();
      await once(server, 'close');
    },
  };
}

async function serve(socket: net.Socket): Promise<void> {
  const incoming = new Incoming(socket);
  const command = await incoming.exactly(commandLength).catch(() => Buffer.from('leave'));
  const [word, bytes] = command.toString().trim().split(' ');
  switch (word) {
    case 'echo': {
      let left = Number(bytes);
      const echo = (data: Buffer) => {
        left -= data.length;
        socket.write(data);
        if (left === 0) socket.end();
      };
      echo(incoming.rest());
      socket.on('data', echo);
      break;
    }
    case 'digest': {
      const hash = createHash('sha256').update(incoming.rest());
      socket.on('data', (data: Buffer) => hash.update(data));
      socket.on('end', () => socket.end(hash.digest('hex')));
      break;
    }
    case 'leave':
      socket.resetAndDestroy();
      break;
    default:
      socket.write('ok');
      socket.on('end', () => socket.end());
  }
}

/** Bytes that came and were not yet looked at. */
class Incoming {
  readonly #socket: net.Socket;
  #bytes: Buffer[] = [];
  #length = 0;
  #isOver = false;
  #stir = () => {};

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on('data', this.#take);
    for (const event of ['end', 'close', 'error']) socket.on(event, this.#leave);
  }

  readonly #take = (data: Buffer) => {
    this.#bytes.push(data);
    this.#length += data.length;
    this.#stir();
  };

  readonly #leave = () => {
    this.#isOver = true;
    this.#stir();
  };

  /** Exactly so many bytes. Rejects when the connection ends before they are there. */
  async exactly(length: number): Promise<Buffer> {
    while (this.#length < length) {
      if (this.#isOver) throw new Error(`the connection ended before ${String(length)} bytes had come`);
      await new Promise<void>((resolve) => (this.#stir = resolve));
    }
    const all = Buffer.concat(this.#bytes);
    this.#bytes = [all.subarray(length)];
    this.#length -= length;
    return all.subarray(0, length);
  }

  /** Resolves when no more comes, however it ended. Rejects where that is not so after 15 seconds. */
  async over(): Promise<void> {
    const timer = setTimeout(() => this.#socket.destroy(new Error('the connection goes on')), waitMs);
    while (!this.#isOver) await new Promise<void>((resolve) => (this.#stir = resolve));
    clearTimeout(timer);
    assert.notEqual(this.#socket.errored?.message, 'the connection goes on');
  }

  /** What is left; from now on somebody else reads. */
  rest(): Buffer {
    this.#socket.off('data', this.#take);
    return Buffer.concat(this.#bytes);
  }
}

const commandLength = 16;
const ask = (command: `echo ${number}` | 'digest' | 'leave' | 'stay') => command.padEnd(commandLength);

/** Somebody who has come to the server and was welcomed. */
export interface Visitor {
  readonly socket: net.Socket;
  readonly incoming: Incoming;
  /** Where it comes from, `host:port`. */
  readonly client: string;
}

/** Comes to the server by `address`, `host:port`, and waits for its welcome. */
export async function enter(address: string): Promise<Visitor> {
  const socket = await dial(address);
  const incoming = new Incoming(socket);
  try {
    assert.deepEqual(await incoming.exactly(welcome.length), welcome);
    return { socket, incoming, client: `${socket.localAddress!}:${String(socket.localPort)}` };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** Gets back what it says: a text, and noise, a MiB unless `bytes` says how much. */
export async function visitEcho({ socket, incoming }: Visitor, bytes = mebibyte): Promise<void> {
  try {
    const text = Buffer.from('čau, world\n');
    socket.write(ask(`echo ${text.length + bytes}`));
    socket.write(text);
    assert.deepEqual(await incoming.exactly(text.length), text);
    const noise = randomBytes(bytes);
    socket.write(noise);
    assert.equal(digest(await incoming.exactly(bytes)), digest(noise), 'it came back as it was sent');
    // Who ends first without a word cannot be told from who still listens, in a stream of a GOST's mux.
    await incoming.over();
  } finally {
    socket.destroy();
  }
}

/** Ends its direction after a MiB and still gets the answer, which the server gives only then. */
export async function visitHalfClosed({ socket, incoming }: Visitor): Promise<void> {
  try {
    const noise = randomBytes(mebibyte);
    socket.write(ask('digest'));
    socket.end(noise);
    assert.equal((await incoming.exactly(64)).toString(), digest(noise));
  } finally {
    socket.destroy();
  }
}

/** Breaks the connection; the server must see that it is over. */
export async function visitAndBreak({ socket, incoming }: Visitor, farEnd: FarEnd): Promise<void> {
  socket.write(ask('stay'));
  // Bytes and a reset at once look like an end.
  await incoming.exactly(2);
  const before = farEnd.goneCount();
  socket.resetAndDestroy();
  await farEnd.gone(before + 1);
}

/** Ends its direction while the server waits for it, and never reads again. */
export async function visitAndForget({ socket, incoming }: Visitor): Promise<void> {
  socket.write(ask('stay'));
  await incoming.exactly(2);
  socket.end();
}

/** The server breaks the connection; the visitor must see that it is over, by an end or a reset. */
export async function visitAndBeLeft({ socket, incoming }: Visitor): Promise<void> {
  socket.write(ask('leave'));
  await incoming.over();
  socket.destroy();
}

/**
 * Several send datagrams of several sizes to an echo at `host:port`, each the next when the one before has come back; in turns, or all
 * at once. Resolves with where they sent from.
 */
export async function exchangeDatagrams(
  address: string,
  { atOnce }: { readonly atOnce: boolean },
): Promise<string[]> {
  const [host, port] = address.split(':') as [string, string];
  const sockets = Array.from({ length: 3 }, () => dgram.createSocket('udp4'));
  const send = async (socket: dgram.Socket, size: number) => {
    const data = randomBytes(size);
    const reply = once(socket, 'message', { signal: AbortSignal.timeout(waitMs) });
    socket.send(data, Number(port), host);
    const [bytes] = (await reply) as [Buffer];
    assert.deepEqual(bytes, data);
  };
  try {
    // Each is known before the next comes.
    for (const socket of sockets) await send(socket, 10);
    for (const size of [1, 100, 1200]) {
      const turns = sockets.map((socket) => () => send(socket, size));
      if (atOnce) await Promise.all(turns.map((turn) => turn()));
      else for (const turn of turns) await turn();
    }
    return sockets.map((socket) => `127.0.0.1:${String(socket.address().port)}`);
  } finally {
    for (const socket of sockets) socket.close();
  }
}

/** Waits until an echo or a server answers at this address, for at most 15 seconds. */
export async function untilHeard(address: string, network: 'tcp' | 'udp'): Promise<void> {
  const [host, port] = address.split(':') as [string, string];
  const end = performance.now() + waitMs;
  for (;;) {
    const socket = network === 'udp' ? dgram.createSocket('udp4') : net.connect(Number(port), host);
    try {
      const heard = once(socket, network === 'udp' ? 'message' : 'data', {
        signal: AbortSignal.timeout(300),
      });
      if (socket instanceof dgram.Socket) socket.send('?', Number(port), host);
      await heard;
      return;
    } catch (error) {
      // Nobody listens there yet.
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      if (socket instanceof dgram.Socket) socket.close();
      else socket.destroy();
    }
  }
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
