// What a user does at a proxy, in each of the ways in which a user can ask, and what became of it in one word.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { Seen } from '../../../../interop/gost/traffic.ts';

/** How a user asks: a tunnel or a plain request of HTTP, SOCKS, or nothing at all, where the proxy knows where to go. */
export type Way = 'CONNECT' | 'GET' | 'socks5' | 'socks4' | 'tcp';

/** The handler that serves each of them. */
export const handlerOf: Readonly<Record<Way, string>> = {
  CONNECT: 'http',
  GET: 'http',
  socks5: 'socks5',
  socks4: 'socks4',
  tcp: 'tcp',
};

/** What a user asks for. */
export interface Wish {
  /** `host:port`, as it is written; not looked at where the proxy knows where to go. */
  readonly target: string;
  /** `user:password`. Absent: none are offered. */
  readonly credentials?: string | undefined;
  readonly path?: string;
  /** Sent to the origin; with one the method is POST. */
  readonly body?: string;
  /** SOCKS is given the host as a name, even where it is an address. */
  readonly asName?: boolean;
  /** The listener speaks TLS. */
  readonly tls?: tls.ConnectionOptions | undefined;
  /** The Host of the request inside a tunnel. Default: the target. */
  readonly innerHost?: string;
  /** Further lines of a request's head. */
  readonly headers?: readonly string[];
  /** Called when the way to the target is open, before anything is sent along it. */
  readonly opened?: () => unknown;
  /** What is longer than this has not come to an end. Default 10 s. */
  readonly timeoutMs?: number;
}

/** What became of it. */
export interface Visit {
  /** Where the user came from, as the proxy sees it. */
  readonly client: string;
  /** `ok`; `HTTP 403`, `SOCKS5 2`, `SOCKS4 92`; `credentials` where SOCKS5 does not take them; `closed` without a byte. */
  readonly outcome: string;
  /** The whole answer of the origin; empty where there was none. */
  readonly body: string;
  readonly ms: number;
}

/** What the origin says of a request, where it was reached. */
export function seenBy({ outcome, body }: Visit): Seen {
  if (outcome !== 'ok') throw new Error(`the origin was not reached: ${outcome}`);
  return JSON.parse(body) as Seen;
}

/** A connection whose bytes are taken as they are wanted, however they arrive. */
class Line {
  readonly socket: net.Socket;
  #held: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#held = Buffer.concat([this.#held, bytes]);
      this.#wake?.();
    });
    const over = () => {
      this.#ended = true;
      this.#wake?.();
    };
    // What broke it is seen as its end.
    socket.on('end', over).on('close', over).on('error', over);
  }

  /** All that is enough for `take`, which answers how many bytes that is; undefined when it ended before. */
  async take(enough: (held: Buffer) => number | undefined): Promise<Buffer | undefined> {
    for (;;) {
      const length = enough(this.#held);
      if (length !== undefined && length <= this.#held.length) {
        const taken = this.#held.subarray(0, length);
        this.#held = this.#held.subarray(length);
        return taken;
      }
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  exactly(bytes: number): Promise<Buffer | undefined> {
    return this.take(() => bytes);
  }

  /** All bytes until the connection's end. */
  async rest(): Promise<Buffer> {
    while (!this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#held;
  }
}

/** Makes the wish and answers what became of it. Rejects only where the proxy cannot be reached, or hangs. */
export async function visit(way: Way, proxy: string, wish: Wish): Promise<Visit> {
  const started = performance.now();
  const { line, client } = await connect(proxy, wish);
  const { socket } = line;
  const timeoutMs = wish.timeoutMs ?? 10_000;
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    socket.destroy();
  }, timeoutMs);
  try {
    const refused = await ask(way, line, wish);
    if (refused === undefined) await wish.opened?.();
    const answer =
      refused === undefined ? await request(line, way === 'GET' ? 'sent' : 'send', wish) : undefined;
    if (hung) throw new Error(`${way} ${wish.target}: no answer within ${String(timeoutMs)} ms`);
    const outcome = refused ?? answer!.outcome;
    return { client, outcome, body: answer?.body ?? '', ms: performance.now() - started };
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

// Below those that the system gives away, so that a visit's own is known even where it is cut before anybody can ask.
const ports = { first: 10_000, count: 20_000, next: Math.floor(Math.random() * 20_000) };

/** A connection to the proxy, from a port that is nobody's. Whoever asked for it destroys its socket. */
export async function connect(
  proxy: string,
  { tls: options }: Pick<Wish, 'tls'>,
): Promise<{ line: Line; client: string }> {
  const [host, port] = splitTarget(proxy);
  for (;;) {
    const localPort = ports.first + (ports.next++ % ports.count);
    const to = { host, port: Number(port), localAddress: '127.0.0.1', localPort };
    const socket = options ? tls.connect({ ...options, ...to } as tls.ConnectionOptions) : net.connect(to);
    const line = new Line(socket);
    try {
      await once(socket, options ? 'secureConnect' : 'connect');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL') continue;
      // Accepted, and cut at once.
      if (code !== 'ECONNRESET') throw error;
    }
    return { line, client: `127.0.0.1:${String(localPort)}` };
  }
}

/** Asks the proxy. Undefined: the way is open. */
async function ask(way: Way, line: Line, wish: Wish): Promise<string | undefined> {
  const { socket } = line;
  switch (way) {
    case 'CONNECT': {
      socket.write(head(`CONNECT ${wish.target} HTTP/1.1`, wish, wish.target, 'proxy'));
      const answer = await line.take(headEnd);
      const status = answer && statusOf(answer);
      return status === 200 ? undefined : outcomeOf(status);
    }
    case 'GET': {
      const verb = wish.body === undefined ? 'GET' : 'POST';
      const url = `http://${wish.target}${wish.path ?? '/page'}`;
      socket.write(head(`${verb} ${url} HTTP/1.1`, wish, wish.target, 'both') + (wish.body ?? ''));
      return undefined;
    }
    case 'socks5':
      return socks5(line, wish);
    case 'socks4':
      return socks4(line, wish);
    case 'tcp':
      return undefined;
  }
}

/** A request to the origin, where it has not been sent with the question already, and its answer. */
async function request(
  line: Line,
  state: 'send' | 'sent',
  wish: Wish,
): Promise<{ outcome: string; body: string }> {
  if (state === 'send') {
    const verb = wish.body === undefined ? 'GET' : 'POST';
    const host = wish.innerHost ?? wish.target;
    line.socket.write(
      head(`${verb} ${wish.path ?? '/page'} HTTP/1.1`, wish, host, 'origin') + (wish.body ?? ''),
    );
  }
  const answer = await line.take(headEnd);
  const status = answer && statusOf(answer);
  if (status !== 200) return { outcome: outcomeOf(status), body: '' };
  const length = /\r\ncontent-length: *(\d+)/i.exec(answer!.toString('latin1'))?.[1];
  const body = length === undefined ? await chunked(line) : await line.exactly(Number(length));
  return body === undefined
    ? { outcome: 'cut short', body: '' }
    : { outcome: 'ok', body: body.toString('utf8') };
}

/** A body of chunks, or until the connection's end. */
async function chunked(line: Line): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  for (;;) {
    const size = await line.take(lineEnd);
    if (size === undefined) return undefined;
    const length = parseInt(size.toString('latin1'), 16);
    const chunk = await line.exactly(length + 2);
    if (chunk === undefined) return undefined;
    if (length === 0) return Buffer.concat(parts);
    parts.push(chunk.subarray(0, length));
  }
}

function head(first: string, wish: Wish, host: string, to: 'proxy' | 'origin' | 'both'): string {
  const { credentials, body, headers = [] } = wish;
  const lines = [first, `Host: ${host}`];
  if (to !== 'origin' && credentials !== undefined)
    lines.push(`Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}`);
  if (to !== 'proxy' && body !== undefined) lines.push(`Content-Length: ${String(Buffer.byteLength(body))}`);
  if (to !== 'proxy') lines.push('Connection: close');
  lines.push(...headers);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function headEnd(held: Buffer): number | undefined {
  const at = held.indexOf('\r\n\r\n');
  return at === -1 ? undefined : at + 4;
}

function lineEnd(held: Buffer): number | undefined {
  const at = held.indexOf('\r\n');
  return at === -1 ? undefined : at + 2;
}

function statusOf(answer: Buffer): number {
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer.toString('latin1'))?.[1]);
}

function outcomeOf(status: number | undefined): string {
  return status === undefined ? 'closed' : `HTTP ${String(status)}`;
}

/** RFC 1928 and 1929. */
async function socks5(
  line: Line,
  { target, credentials, asName = false }: Wish,
): Promise<string | undefined> {
  const { socket } = line;
  socket.write(Buffer.from([5, 1, credentials === undefined ? 0 : 2]));
  const chosen = await line.exactly(2);
  if (chosen === undefined) return 'closed';
  if (chosen[1] === 255) return 'credentials';
  if (chosen[1] === 2) {
    const colon = credentials!.indexOf(':');
    const [name, password] = [credentials!.slice(0, colon), credentials!.slice(colon + 1)];
    socket.write(Buffer.concat([Buffer.from([1]), counted(name), counted(password)]));
    const status = await line.exactly(2);
    if (status === undefined) return 'closed';
    if (status[1] !== 0) return 'credentials';
  }
  const [host, port] = splitTarget(target);
  const at = Number(port);
  const version = asName ? 0 : net.isIP(host);
  const address =
    version === 4
      ? Buffer.from([1, ...host.split('.').map(Number)])
      : version === 6
        ? Buffer.concat([Buffer.from([4]), ipv6(host)])
        : Buffer.concat([Buffer.from([3]), counted(host)]);
  socket.write(Buffer.concat([Buffer.from([5, 1, 0]), address, Buffer.from([at >> 8, at & 255])]));
  const start = await line.exactly(4);
  if (start === undefined) return 'closed';
  await line.exactly(start[3] === 4 ? 18 : 6);
  return start[1] === 0 ? undefined : `SOCKS5 ${String(start[1])}`;
}

/** SOCKS4, or 4a for a name. The user id is what stands before the colon of the credentials. */
async function socks4(
  line: Line,
  { target, credentials = '', asName = false }: Wish,
): Promise<string | undefined> {
  const [host, port] = splitTarget(target);
  const at = Number(port);
  const isAddress = !asName && net.isIPv4(host);
  const ip = isAddress ? host.split('.').map(Number) : [0, 0, 0, 1];
  const user = credentials.split(':')[0]!;
  const name = isAddress ? '' : `${host}\0`;
  line.socket.write(
    Buffer.concat([Buffer.from([4, 1, at >> 8, at & 255, ...ip]), Buffer.from(`${user}\0${name}`)]),
  );
  const reply = await line.exactly(8);
  if (reply === undefined) return 'closed';
  return reply[1] === 90 ? undefined : `SOCKS4 ${String(reply[1])}`;
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

/** Host and port as they are written, the brackets of IPv6 taken off. */
export function splitTarget(target: string): [host: string, port: string] {
  const colon = target.lastIndexOf(':');
  return [target.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), target.slice(colon + 1)];
}

function ipv6(host: string): Buffer {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(host);
  const text =
    dotted === null
      ? host
      : `${dotted[1]!}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`;
  const [before = '', after] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  const tail = after === undefined ? [] : groups(after);
  const first = groups(before);
  const all = [...first, ...Array<number>(8 - first.length - tail.length).fill(0), ...tail];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]));
}
