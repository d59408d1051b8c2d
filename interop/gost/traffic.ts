// Users and origins: what stands at the two ends of a proxy in these suites.
import dgram from 'node:dgram';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import tls from 'node:tls';

const timeoutMs = 15_000;

/** The two parts of `host:port`. */
function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}

/** An HTTP server on every loopback address. */
export interface Origin {
  readonly port: number;
  close(): Promise<void>;
}

/** What the origin says of a request that it got: all of it, and at which of its addresses. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly at: string;
}

/** Starts an origin which answers each request with {@link Seen} as JSON. `/text` is answered with a page, `/bytes/N` with N bytes. */
export async function startOrigin(): Promise<Origin> {
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method, url, headers, socket } = request;
      const bytes = /^\/bytes\/(\d+)$/.exec(url!);
      if (bytes) return response.end(Buffer.alloc(Number(bytes[1]), 'bytes '));
      if (url!.startsWith('/text')) {
        return response.setHeader('content-type', 'text/html').end('<p>the quick brown fox</p>');
      }
      const body = Buffer.concat(chunks).toString();
      return response.end(JSON.stringify({ method, url, headers, body, at: socket.localAddress }));
    });
  });
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** An HTTP answer, and the address from which it was asked for. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly client: string;
}

export interface RequestOptions {
  readonly method?: string;
  readonly body?: string;
  /** `user:password` for the proxy. */
  readonly credentials?: string;
  readonly tls?: tls.ConnectionOptions;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Connects to `host:port`, with TLS if there are options for it. Ends in an error after 15 seconds of silence. */
export async function dial(address: string, options?: tls.ConnectionOptions): Promise<net.Socket> {
  const to = splitAddress(address);
  const socket = options ? tls.connect({ ...to, ...options }) : net.connect(to);
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`${address} is silent`)));
  await once(socket, options ? 'secureConnect' : 'connect');
  return socket;
}

/** Where a socket comes from, as the other side sees it. */
function clientOf(socket: net.Socket): string {
  return `${socket.localAddress!}:${String(socket.localPort)}`;
}

/** One request on a new connection to `server`; `url` is sent as it is, so that an absolute one asks a proxy. */
export async function request(server: string, url: string, options: RequestOptions = {}): Promise<Answer> {
  const socket = await dial(server, options.tls);
  const client = clientOf(socket);
  const { response, body } = await exchange(socket, options.method ?? 'GET', url, options);
  return { status: response.statusCode!, body, client };
}

/** A tunnel through an HTTP proxy; rejects with an error that begins with the status when there is none. */
export async function tunnel(
  proxy: string,
  target: string,
  options: RequestOptions = {},
): Promise<{ socket: net.Socket; client: string }> {
  const socket = await dial(proxy, options.tls);
  const client = clientOf(socket);
  const asking = http.request({
    ...{ method: 'CONNECT', path: target, createConnection: () => socket, headers: headersOf(options) },
  });
  asking.end();
  const [response, , head] = (await once(asking, 'connect')) as [http.IncomingMessage, net.Socket, Buffer];
  if (response.statusCode !== 200) {
    socket.destroy();
    throw new Error(`${String(response.statusCode)} for CONNECT ${target}`);
  }
  if (head.length > 0) socket.unshift(head);
  return { socket, client };
}

/** One request on a connection that is there already, which is closed afterwards. */
export async function exchange(
  socket: net.Socket,
  method: string,
  url: string,
  options: RequestOptions = {},
): Promise<{ response: http.IncomingMessage; body: string }> {
  const host = URL.canParse(url) ? new URL(url).host : 'origin.test';
  const asking = http.request({
    ...{ method, path: url, createConnection: () => socket },
    headers: { host, connection: 'close', ...headersOf(options) },
  });
  asking.end(options.body);
  const [response] = (await once(asking, 'response')) as [http.IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk as string;
  socket.destroy();
  return { response, body };
}

function headersOf({ credentials, headers }: RequestOptions): Record<string, string> {
  const basic = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
  return { ...(basic && { 'proxy-authorization': basic }), ...headers };
}

/** An HTTP proxy of a few lines that knows only CONNECT and remembers whom it was sent to, `host:port`. */
export async function startNode(): Promise<{ address: string; targets: string[]; close(): Promise<void> }> {
  const targets: string[] = [];
  const server = http.createServer();
  const sockets = new Set<net.Socket>();
  server.on('connect', (asked, client: net.Socket) => {
    targets.push(asked.url!);
    const origin = net.connect(splitAddress(asked.url!).port, '127.0.0.1');
    client.write('HTTP/1.1 200 OK\r\n\r\n');
    client.pipe(origin).pipe(client);
    for (const [one, other] of [
      [client, origin],
      [origin, client],
    ] as const) {
      sockets.add(one);
      // What ends one side is seen there; here it only has to end the other.
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${String((server.address() as net.AddressInfo).port)}`,
    targets,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** The next bytes of a connection, exactly so many. Rejects when it ends before. */
export async function readExactly(socket: net.Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const data = socket.read(bytes) as Buffer | null;
    if (data?.length === bytes) return data;
    if (socket.readableEnded || socket.destroyed) throw new Error('the connection ended before its answer');
    const waiting = new AbortController();
    const stirs = ['readable', 'end', 'close'].map((event) => once(socket, event, waiting));
    await Promise.race(stirs).finally(() => {
      waiting.abort();
    });
  }
}

/** A SOCKS5 connection to a name (RFC 1928) by a user with a password (RFC 1929). */
export async function socks5(
  proxy: string,
  target: string,
  credentials: string,
): Promise<{ socket: net.Socket; client: string }> {
  const socket = await dial(proxy);
  const client = clientOf(socket);
  try {
    socket.write(Buffer.from([5, 1, 2]));
    const [, method] = await readExactly(socket, 2);
    if (method !== 2) throw new Error(`SOCKS5 method ${String(method)}`);
    const [username, password] = credentials.split(':') as [string, string];
    socket.write(Buffer.concat([Buffer.from([1]), counted(username), counted(password)]));
    const [, status] = await readExactly(socket, 2).catch(() => Buffer.from([1, 1]));
    if (status !== 0) throw new Error('SOCKS5 takes no such credentials');
    const { host, port } = splitAddress(target);
    socket.write(
      Buffer.concat([Buffer.from([5, 1, 0, 3]), counted(host), Buffer.from([port >> 8, port & 255])]),
    );
    const [, reply] = await readExactly(socket, 10);
    if (reply !== 0) throw new Error(`SOCKS5 reply ${String(reply)}`);
    return { socket, client };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function counted(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
}

/** A UDP server that sends each datagram back. */
export async function startEcho(): Promise<{ address: string; close(): Promise<void> }> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (data, { port, address }) => socket.send(data, port, address));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    address: `127.0.0.1:${String(socket.address().port)}`,
    close: () => new Promise<void>((resolve) => socket.close(resolve)),
  };
}

/** Sends datagrams from one new port, each when the one before has come back, and answers what came, and to where. */
export async function sendDatagrams(
  to: string,
  sent: readonly Buffer[],
): Promise<{ replies: Buffer[]; client: string }> {
  const socket = dgram.createSocket('udp4');
  const { host, port } = splitAddress(to);
  const replies: Buffer[] = [];
  try {
    for (const data of sent) {
      const reply = once(socket, 'message', { signal: AbortSignal.timeout(timeoutMs) });
      socket.send(data, port, host);
      replies.push((await reply)[0] as Buffer);
    }
    return { replies, client: `127.0.0.1:${String(socket.address().port)}` };
  } finally {
    socket.close();
  }
}

/**
 * As {@link sendDatagrams}, through a SOCKS5 proxy (RFC 1928, section 7) to one address of IPv4. Rejects when the proxy does not
 * give an association, or takes it back before all has been answered.
 */
export async function sendSocks5Datagrams(
  proxy: string,
  target: string,
  sent: readonly Buffer[],
): Promise<{ replies: Buffer[] }> {
  const control = await dial(proxy);
  const over = once(control, 'close').then(() => {
    throw new Error('the association has ended');
  });
  // Whoever waits hears of it; when nobody does, it has ended as it should.
  over.catch(() => undefined);
  const socket = dgram.createSocket('udp4');
  try {
    control.write(Buffer.from([5, 1, 0]));
    const [, method] = await readExactly(control, 2);
    if (method !== 0) throw new Error(`SOCKS5 method ${String(method)}`);
    control.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
    const reply = await readExactly(control, 10);
    if (reply[1] !== 0) throw new Error(`SOCKS5 reply ${String(reply[1])}`);
    control.resume();
    const { host, port } = splitAddress(target);
    const header = Buffer.from([0, 0, 0, 1, ...host.split('.').map(Number), port >> 8, port & 255]);
    const replies: Buffer[] = [];
    for (const data of sent) {
      const answer = once(socket, 'message', { signal: AbortSignal.timeout(timeoutMs) });
      socket.send(Buffer.concat([header, data]), reply.readUInt16BE(8), splitAddress(proxy).host);
      const [bytes] = (await Promise.race([answer, over])) as [Buffer];
      if (!bytes.subarray(0, header.length).equals(header)) throw new Error('it names another sender');
      replies.push(bytes.subarray(header.length));
    }
    return { replies };
  } finally {
    socket.close();
    control.destroy();
  }
}

/** A server that speaks first, and says goodbye and ends when its visitor has said so. */
export async function startGreeter(): Promise<{
  port: number;
  /** Waits for the greeting, says goodbye, and answers all that was said until the connection's end. */
  talk(socket: net.Socket): Promise<string>;
  close(): Promise<void>;
}> {
  const greeting = 'hello from the origin\n';
  const server = net.createServer((socket) => {
    // A visitor who is cut off is seen at the other end.
    socket.on('error', () => socket.destroy());
    socket.write(greeting);
    socket.once('data', () => socket.end('goodbye\n'));
  });
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    async talk(socket) {
      let said = '';
      socket.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said === greeting) socket.write('goodbye');
      });
      await once(socket, 'end');
      return said;
    },
    async close() {
      server.close();
      await once(server, 'close');
    },
  };
}

/** Passes connections on to `to` and counts them: whoever says that it went there must have come by. */
export async function startTurnstile(
  to: string,
): Promise<{ address: string; count(): number; close(): Promise<void> }> {
  let count = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    count += 1;
    const far = net.connect({ ...splitAddress(to), allowHalfOpen: true });
    // One connection may carry many, so that each piece counts.
    near.on('data', () => (count += 1));
    near.pipe(far).pipe(near);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      // What breaks on one side is shown to the other as its end.
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${String((server.address() as net.AddressInfo).port)}`,
    count: () => count,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
