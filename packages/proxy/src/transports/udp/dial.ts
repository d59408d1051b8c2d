import type { Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import type { Address } from '../../core/conn.ts';
import { createDatagramInbox } from '../../core/datagrams.ts';
import type { DatagramInbox, Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import type { Context } from '../../core/way.ts';
import { maxDatagramBytes, maxUnsentBytes } from './options.ts';
import { openSocket, plainAddress } from './socket.ts';

/** Names that one association has looked up and keeps; of more the oldest is looked up again. */
const maxNames = 256;

/** Datagrams to one name that wait while it is looked up. */
const maxWaiting = 16;

/**
 * A place to send datagrams from: to `to` alone where it is given, and then only what comes from there is received;
 * otherwise to anybody, over IPv4 and IPv6, with a socket for each that is opened when it is first needed. Names are
 * looked up by the system, and what `context.refuses` refuses is not sent to. Rejects with ProxyError `nameNotFound`,
 * `dialFailed` or `clientClosed`.
 */
export async function openPackets(to: Address | undefined, context: Context): Promise<Datagrams> {
  if (context.signal.aborted) throw leftEarly();
  if (to === undefined) return new Packets(undefined, context);
  const address = await addressOf(to, context);
  if (context.signal.aborted) throw leftEarly();
  const socket = openSocket(address);
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: Error) => {
      socket.close();
      const message = `${formatAddress(to)} could not be reached over UDP: ${cause.message}`;
      reject(new ProxyError('dialFailed', 'upstream', message, { cause, retryable: true }));
    };
    socket.once('error', failed);
    socket.connect(to.port, address, () => {
      socket.off('error', failed);
      resolve();
    });
  });
  return new Packets({ socket, peer: to }, context);
}

function leftEarly(): ProxyError {
  return new ProxyError('clientClosed', 'client', 'the client went away while its target was dialled');
}

/** The address that is sent to. Rejects where there is none, or none that may be. */
async function addressOf({ host, port }: Address, context: Context): Promise<string> {
  if (isIP(host) !== 0) return host;
  let found: readonly { readonly address: string }[];
  try {
    found = await lookup(host, { all: true, verbatim: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const message =
      code === 'EAI_AGAIN' ? `${host}: no DNS server answered` : `there is no such name: ${host}`;
    throw new ProxyError('nameNotFound', 'upstream', message, { cause, retryable: true });
  }
  let refusal: ProxyError | undefined;
  for (const { address } of found) {
    const refused = context.refuses?.({ host: address, port });
    if (refused === undefined) return address;
    refusal ??= refused;
  }
  throw refusal ?? new ProxyError('nameNotFound', 'upstream', `there is no such name: ${host}`);
}

/** An address once it is known; null: there is none. */
interface Name {
  address: string | null | undefined;
  readonly waiting: { readonly data: Uint8Array; readonly port: number }[];
}

class Packets implements Datagrams {
  readonly kind = 'datagrams';
  readonly remote: Address;
  readonly closed: Promise<void>;
  readonly #context: Context;
  readonly #inbox: DatagramInbox = createDatagramInbox();
  readonly #connected: Socket | undefined;
  readonly #sockets = new Map<'udp4' | 'udp6', Socket>();
  readonly #names = new Map<string, Name>();
  #isClosed = false;
  #resolveClosed!: () => void;

  constructor(connected: { socket: Socket; peer: Address } | undefined, context: Context) {
    this.#context = context;
    this.remote = connected?.peer ?? { host: '', port: 0 };
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#connected = connected?.socket;
    if (connected === undefined) return;
    const { socket, peer } = connected;
    this.#sockets.set('udp4', socket);
    // Only the peer's datagrams come here, and the peer is known by the name that was asked for.
    socket.on('message', (data) => this.#inbox.deliver(data, peer));
    this.#watch(socket);
  }

  get local(): Address {
    const [socket] = this.#sockets.values();
    if (socket === undefined || this.#isClosed) return { host: '', port: 0 };
    try {
      return plainAddress(socket.address());
    } catch {
      // It has no address before the first datagram has gone.
      return { host: '', port: 0 };
    }
  }

  receive(each: (data: Buffer, peer: Address) => void): void {
    this.#inbox.receive(each);
  }

  send(data: Uint8Array, peer: Address = this.remote): boolean {
    if (this.#isClosed || data.length > maxDatagramBytes) return false;
    if (this.#connected !== undefined) {
      const { remote } = this;
      const isPeer = peer === remote || (peer.host === remote.host && peer.port === remote.port);
      if (!isPeer || isFull(this.#connected)) return false;
      // As below; a port that nobody listens at (ICMP says so to a connected socket) is no reason to end either.
      this.#connected.send(Buffer.from(data), () => undefined);
      return true;
    }
    if (!(peer.port >= 1 && peer.port <= 65_535) || peer.host === '') return false;
    if (isIP(peer.host) !== 0) return this.#sendTo(data, peer.host, peer.port);
    const name = this.#nameOf(peer);
    if (name.address === null) return false;
    if (name.address !== undefined) return this.#sendTo(data, name.address, peer.port);
    if (name.waiting.length >= maxWaiting) return false;
    name.waiting.push({ data: Buffer.from(data), port: peer.port });
    return true;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#inbox.close();
    this.#names.clear();
    const open = [...this.#sockets.values()];
    this.#sockets.clear();
    for (const socket of open) socket.close();
    this.#resolveClosed();
  }

  #sendTo(data: Uint8Array, host: string, port: number): boolean {
    const socket = this.#socketFor(host);
    if (isFull(socket)) return false;
    // The system may take it later than we return. A peer that cannot be reached is like one whose network loses things.
    socket.send(Buffer.from(data), port, host, () => undefined);
    return true;
  }

  #socketFor(host: string): Socket {
    const type = isIPv6(host) ? 'udp6' : 'udp4';
    let socket = this.#sockets.get(type);
    if (socket === undefined) {
      socket = openSocket(host, { ipv6Only: true });
      socket.on('message', (data, from) => this.#inbox.deliver(data, plainAddress(from)));
      this.#sockets.set(type, socket);
      this.#watch(socket);
    }
    return socket;
  }

  #watch(socket: Socket): void {
    socket.on('error', ({ syscall }: NodeJS.ErrnoException) => {
      // Other errors are about single datagrams, such as that nobody listens at a port.
      if (syscall !== 'bind' || this.#isClosed) return;
      // No descriptor, no port, or no such family here: what was sent is lost, and the next datagram tries again.
      for (const [type, one] of this.#sockets) if (one === socket) this.#sockets.delete(type);
      socket.close();
    });
  }

  #nameOf(peer: Address): Name {
    const found = this.#names.get(peer.host);
    if (found !== undefined) return found;
    const name: Name = { address: undefined, waiting: [] };
    this.#names.set(peer.host, name);
    if (this.#names.size > maxNames) this.#names.delete(this.#names.keys().next().value!);
    addressOf(peer, this.#context).then(
      (address) => {
        name.address = address;
        for (const { data, port } of name.waiting.splice(0))
          if (!this.#isClosed) this.#sendTo(data, address, port);
      },
      () => {
        // As if the network had lost them.
        name.address = null;
        name.waiting.length = 0;
      },
    );
    return name;
  }
}

function isFull(socket: Socket): boolean {
  return socket.getSendQueueSize() > maxUnsentBytes;
}
