import * as net from 'node:net';
import { PluginError } from '../errors.ts';
import type { Endpoint } from './endpoint.ts';
import { createHttpClient } from './http-client.ts';
import type { HttpClientOptions } from './http-client.ts';
import type { HttpClient, HttpReply, HttpRequest } from './http.ts';

const opened: (() => unknown)[] = [];

/** Remembers what a test must close; `closeAll` closes it, the last first. */
export function toClose(close: () => unknown): void {
  opened.push(close);
}

/** For `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const close of opened.splice(0).reverse()) await close();
}

/** A server of a test. */
export interface Peer {
  readonly port: number;
  readonly sockets: net.Socket[];
  close(): Promise<unknown>;
}

/** A server that does with each connection what a test says. */
export async function listen(
  onConnection: (socket: net.Socket, index: number) => void,
  at?: string,
): Promise<Peer> {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    sockets.push(socket);
    onConnection(socket, sockets.length - 1);
  });
  await new Promise<void>((resolve) => {
    if (at === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(at, resolve);
  });
  const close = async (): Promise<unknown> => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  };
  toClose(close);
  const address = server.address();
  return { port: typeof address === 'object' ? address!.port : 0, sockets, close };
}

/** Answers the n-th request of each connection with `answers[n]` (the last one from then on); null closes instead. */
export function answering(...answers: (string | Buffer | null)[]): (socket: net.Socket) => void {
  return (socket) => {
    let count = 0;
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      // The test's requests are GETs, or POSTs of "{}".
      let end = text.search(/\r\n\r\n(\{\}|(?!\{))/);
      while (end >= 0) {
        const answer = answers[Math.min(count++, answers.length - 1)];
        text = text.slice(end + (text.startsWith('POST') ? 6 : 4));
        if (answer === null || answer === undefined) socket.destroy();
        else socket.write(answer);
        end = text.search(/\r\n\r\n/);
      }
    });
  };
}

/** A plain endpoint on this machine. */
export function endpointAt(port: number): Endpoint {
  return {
    url: `http://127.0.0.1:${port}/auth`,
    connect: { host: '127.0.0.1', port },
    authority: `127.0.0.1:${port}`,
  };
}

/** A client that is closed after the test. */
export function open(endpoint: Endpoint, options: Partial<HttpClientOptions> = {}): HttpClient {
  const client = createHttpClient({ endpoint, ...options });
  toClose(() => client.close(0));
  return client;
}

/** A call like the authenticator's. */
export const post: HttpRequest = {
  verb: 'POST',
  path: '/auth',
  headers: ['Content-Type', 'application/json', 'Authorization', 'Bearer t'],
  body: '{}',
  timeoutMs: 5_000,
};

/** The answer `ok`. */
export const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** The error that a call must end in. */
export async function failure(reply: Promise<HttpReply>): Promise<PluginError> {
  const error: unknown = await reply.then(
    (value) => {
      throw new Error(`answered: ${value.body.toString()}`);
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof PluginError)) throw error;
  return error;
}

/** What a call becomes when the server writes these bytes and then does that. */
export async function ask(
  answer: string | Buffer,
  then: 'stay' | 'end' | 'reset' = 'stay',
  options: Partial<HttpClientOptions> & { request?: Partial<HttpRequest> } = {},
): Promise<HttpReply> {
  const peer = await listen((socket) => {
    socket.once('data', () => {
      if (then === 'end') socket.end(answer);
      else socket.write(answer, () => then === 'reset' && socket.resetAndDestroy());
    });
  });
  return open(endpointAt(peer.port), options).request({ ...post, ...options.request });
}
