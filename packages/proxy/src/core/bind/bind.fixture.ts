import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { tcp } from '../../transports/tcp/index.ts';
import { udp } from '../../transports/udp/index.ts';
import { parseSmuxHead } from '../../wire/smux.ts';
import type { SmuxCommand } from '../../wire/smux.ts';
import type { Conn, End } from '../conn.ts';
import type { Peer } from '../peer.fixture.ts';
import type { ServiceParts } from '../service.ts';

/** The sockets of this machine, as the program opens them in a client's name. */
export const sockets: NonNullable<ServiceParts['sockets']> = ({ network, peerTtlMs: ttlMs }) =>
  (network === 'tcp' ? tcp : udp).wrap(undefined, { metadata: ttlMs === undefined ? {} : { ttlMs } });

/** A connection to a port of this machine. */
export function dial(port: number): Promise<Conn> {
  const { signal } = new AbortController();
  return tcp.wrap(undefined, { metadata: {} }).dial({ host: '127.0.0.1', port }, { signal });
}

/** A frame of smux version 1, as a peer got it. */
export interface Frame {
  readonly command: SmuxCommand;
  readonly stream: number;
  readonly data: string;
}

/** The next frame that a peer gets; its connection is a mux from now on. */
export async function nextFrame(peer: Peer): Promise<Frame> {
  const head = Buffer.from(await peer.take(/^.{8}/s), 'latin1');
  const { command, stream, length } = parseSmuxHead(head, 1, 'client')!.message;
  const data = length === 0 ? '' : await peer.take(new RegExp(`^.{${String(length)}}`, 's'));
  return { command, stream, data };
}

/** What a listener accepted, in order. */
export class Arrivals {
  readonly all: End[] = [];
  #taken = 0;
  readonly #waiting: ((end: End) => void)[] = [];

  readonly accept = (end: End): void => {
    this.all.push(end);
    this.#waiting.shift()?.(end);
  };

  next(): Promise<End> {
    const end = this.all[this.#taken++];
    return end === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(end);
  }

  async nextConn(): Promise<Conn> {
    const end = await this.next();
    if (end.kind !== 'stream') throw new Error('no connection');
    return end;
  }
}

/** A port of 127.0.0.1 at which nothing listens now. */
export async function freePort(network: 'tcp' | 'udp'): Promise<number> {
  if (network === 'udp') {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    socket.close();
    return port;
  }
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
