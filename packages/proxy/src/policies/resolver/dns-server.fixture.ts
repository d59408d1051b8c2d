import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { IssuedCertificate } from '@sallyport/plugin/testing';
import dnsPacket from 'dns-packet';
import type { Packet, Resource } from 'dns-packet';
import { onTestFinished } from 'vitest';
import { parseNameserver } from './address.ts';
import type { NameserverAddress } from './address.ts';

/** What a test's nameserver says; undefined: nothing. */
export type Respond = (query: Packet, bytes: Buffer) => Buffer | undefined;

/** A nameserver on the loopback address. It is closed when the test has finished. */
export interface DnsServer {
  readonly address: NameserverAddress;
  /** What it was asked, in order. */
  readonly queries: Packet[];
  /** Byte streams that are open; datagrams have none. */
  readonly connections: Set<Socket>;
  close(): Promise<void>;
}

/** A reply to a query in which the question is echoed. */
export function replyTo(
  query: Packet,
  parts: Partial<Packet> & { code?: number; truncated?: boolean } = {},
): Buffer {
  const { code = 0, truncated = false, ...packet } = parts;
  return dnsPacket.encode({
    id: query.id,
    type: 'response',
    questions: query.questions,
    flags: 0x180 | (truncated ? dnsPacket.TRUNCATED_RESPONSE : 0) | code,
    ...packet,
  });
}

/** Address records of one name. */
export function records(name: string, ips: readonly string[], ttl = 300): Resource[] {
  return ips.map((data) => ({ type: data.includes(':') ? 'AAAA' : 'A', name, ttl, data }));
}

/** An SOA record, which says how long "there is none" holds. */
export function soa(minimum: number, ttl = 3600): Resource {
  const data = {
    mname: 'ns.example',
    rname: 'who.example',
    serial: 1,
    refresh: 1,
    retry: 1,
    expire: 1,
    minimum,
  };
  return { type: 'SOA', name: 'example', ttl, data };
}

/** Answers from a table; who is not in it does not exist. `ttl` counts for all. */
export function zone(table: Readonly<Record<string, readonly string[]>>, ttl = 300): Respond {
  return (query) => {
    const { name, type } = query.questions![0]!;
    const ips = table[name];
    if (ips === undefined) return replyTo(query, { code: 3, authorities: [soa(ttl)] });
    const answers = records(name, ips, ttl).filter((record) => record.type === type);
    return replyTo(query, answers.length > 0 ? { answers } : { authorities: [soa(ttl)] });
  };
}

/** Serves over UDP, and with `overTcp` over TCP on the same port. */
export async function serveUdp(respond: Respond, overTcp?: Respond): Promise<DnsServer> {
  for (;;) {
    const queries: Packet[] = [];
    const socket = await bindUdp((bytes, from) => {
      const query = dnsPacket.decode(bytes);
      queries.push(query);
      const reply = respond(query, bytes);
      if (reply !== undefined) socket.send(reply, from.port, from.address);
    });
    const { port } = socket.address();
    let streams: StreamServer | undefined;
    try {
      if (overTcp !== undefined) {
        streams = await listen(
          createTcpServer((stream) => answerStream(stream, overTcp, queries)),
          port,
        );
      }
    } catch (error) {
      socket.close();
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue;
      throw error;
    }
    const close = async () => {
      socket.close();
      await streams?.close();
    };
    return finished({
      address: parseNameserver(`127.0.0.1:${String(port)}`),
      queries,
      connections: streams?.connections ?? new Set(),
      close,
    });
  }
}

/** A bare UDP socket on the loopback address. */
export async function bindUdp(onMessage: (bytes: Buffer, from: RemoteInfo) => void): Promise<UdpSocket> {
  const socket = createSocket('udp4');
  socket.on('message', onMessage);
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

/** Serves over TCP. */
export async function serveTcp(respond: Respond): Promise<DnsServer> {
  const queries: Packet[] = [];
  const server = await listen(createTcpServer((stream) => answerStream(stream, respond, queries)));
  return finished({ ...server, queries, address: parseNameserver(`tcp://127.0.0.1:${String(server.port)}`) });
}

/** Serves over TLS. */
export async function serveTls(certificate: IssuedCertificate, respond: Respond): Promise<DnsServer> {
  const queries: Packet[] = [];
  const listener = createTlsServer({ ...certificate }, (stream) => answerStream(stream, respond, queries));
  listener.on('tlsClientError', () => {});
  const server = await listen(listener);
  return finished({ ...server, queries, address: parseNameserver(`tls://127.0.0.1:${String(server.port)}`) });
}

/** What a DoH server of a test does with a request. */
export type HandleHttps = (request: IncomingMessage, response: ServerResponse, query: Packet) => void;

/** Answers a DoH request with a DNS message. */
export function respondHttps(respond: Respond): HandleHttps {
  return (_request, response, query) => {
    const reply = respond(query, Buffer.alloc(0));
    if (reply === undefined) return;
    response.writeHead(200, { 'content-type': 'application/dns-message' }).end(reply);
  };
}

/** Serves DoH at `/dns-query`. */
export async function serveHttps(certificate: IssuedCertificate, handle: HandleHttps): Promise<DnsServer> {
  const queries: Packet[] = [];
  const listener = createHttpsServer({ ...certificate }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const query = dnsPacket.decode(Buffer.concat(chunks));
      queries.push(query);
      handle(request, response, query);
    });
  });
  listener.on('tlsClientError', () => {});
  const server = await listen(listener);
  const address = parseNameserver(`https://127.0.0.1:${String(server.port)}/dns-query`);
  return finished({ ...server, queries, address });
}

interface StreamServer {
  readonly port: number;
  readonly connections: Set<Socket>;
  close(): Promise<void>;
}

/** Listens on the loopback address, and knows its connections. */
export async function listen(server: Server, port = 0): Promise<StreamServer> {
  const connections = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => connections.delete(socket));
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    async close() {
      if (!server.listening) return;
      for (const socket of connections) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function answerStream(stream: Socket, respond: Respond, queries: Packet[]): void {
  let received = Buffer.alloc(0);
  stream.on('error', () => {});
  stream.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
    const bytes = received.subarray(2);
    const query = dnsPacket.decode(bytes);
    queries.push(query);
    const reply = respond(query, bytes);
    if (reply !== undefined) stream.write(framed(reply));
  });
}

/** A message as TCP carries it. */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

function finished<S extends { close(): Promise<void> }>(server: S): S {
  let closing: Promise<void> | undefined;
  const { close } = server;
  const once = () => (closing ??= close());
  onTestFinished(once);
  return { ...server, close: once };
}
