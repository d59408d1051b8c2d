import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import type { Address } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { threadWheel } from '../../core/wheel.ts';
import { parseRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { RelayResponse } from '../../wire/relay.ts';
import { canonicalGateway, nameOf } from './request.ts';

/** The longest payload that IPv4 carries in one datagram. */
const maxDatagramBytes = 65_507;

/** What may wait in the system's stead while it takes no more; packets beyond are dropped. */
const maxUnsentBytes = 1024 * 1024;

/** Nodes that sockets are kept for; of more the one that was asked for longest ago goes. */
const maxNodes = 256;

/** For so long nothing is sent to a node that is not there, and to one without the gateway nothing for that. */
const avoidedMs = 5000;

/** Gateways that a node said it does not have. */
const maxAbsent = 1024;

/** Another node, and what is known of it. */
export class Node {
  readonly address: Address;
  readonly #socket: Socket;
  /** Until when nobody is there. */
  #downUntil = 0;
  /** Until when it has not this gateway, by the gateway's name towards service discovery. */
  readonly #absent = new Map<string, number>();
  #isClosed = false;

  constructor(address: Address, socket: Socket) {
    this.address = address;
    this.#socket = socket;
    // The system has been told that nobody listens there, or that there is no way there.
    socket.on('error', this.#failed).on('message', this.#take);
  }

  /** Whether it can be expected to have the gateway of this name. */
  has(name: string, nowMs: number): boolean {
    if (this.#isClosed || nowMs < this.#downUntil) return false;
    return this.#absent.size === 0 || nowMs >= (this.#absent.get(name) ?? 0);
  }

  /** Sends one datagram: the head, and the packet that stands in the bytes. False: it was dropped. */
  send(head: Buffer, bytes: Buffer, start: number, end: number): boolean {
    if (this.#isClosed || head.length + end - start > maxDatagramBytes) return false;
    const queued = this.#socket.getSendQueueSize();
    if (queued > maxUnsentBytes) return false;
    const packet = bytes.subarray(start, end);
    // What the system does not take at once would keep all of the memory that it came in.
    this.#socket.send([head, queued === 0 ? packet : Buffer.from(packet)], this.#sent);
    return true;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }

  readonly #failed = (): void => {
    this.#downUntil = threadWheel.now() + avoidedMs;
  };

  readonly #sent = (error: Error | null): void => {
    if (error !== null) this.#failed();
  };

  /** A node of ours says of what it has not; GOST's say nothing. */
  readonly #take = (data: Buffer): void => {
    const name = readAbsence(data);
    if (name === undefined) return;
    this.#absent.delete(name);
    this.#absent.set(name, threadWheel.now() + avoidedMs);
    if (this.#absent.size > maxAbsent) this.#absent.delete(this.#absent.keys().next().value!);
  };
}

/** The other nodes that packets are sent to. Whoever made it closes it. */
export class Nodes {
  readonly #nodes = new Map<string, Promise<Node | undefined>>();
  #isClosed = false;

  /** The node at an IP address; undefined where nothing can be sent there. */
  at(address: Address): Promise<Node | undefined> {
    const key = formatAddress(address);
    const known = this.#nodes.get(key);
    // Asked for last is last.
    this.#nodes.delete(key);
    const node = known ?? this.#open(address);
    this.#nodes.set(key, node);
    if (this.#nodes.size > maxNodes) this.#drop(this.#nodes.keys().next().value!);
    void node.then((made) => {
      if (made === undefined && this.#nodes.get(key) === node) this.#nodes.delete(key);
    });
    return node;
  }

  close(): void {
    this.#isClosed = true;
    for (const key of [...this.#nodes.keys()]) this.#drop(key);
  }

  #drop(key: string): void {
    const node = this.#nodes.get(key);
    this.#nodes.delete(key);
    void node?.then((made) => made?.close());
  }

  /** A socket for this node alone, so that the system tells what becomes of what is sent. */
  #open(address: Address): Promise<Node | undefined> {
    const { host, port } = address;
    const isSix = isIPv6(host);
    const socket = createSocket({
      type: isSix ? 'udp6' : 'udp4',
      // Asked about the address that it is bound to as well; only ever given addresses.
      lookup: (address, _options, done) => {
        done(null, address, isSix ? 6 : 4);
      },
    });
    // What may be sent does not keep the program.
    socket.unref();
    return new Promise((resolve) => {
      const failed = () => {
        socket.close();
        resolve(undefined);
      };
      socket.once('error', failed);
      socket.connect(port, host, (error?: Error) => {
        socket.off('error', failed);
        if (error !== undefined) {
          failed();
          return;
        }
        const node = new Node(address, socket);
        if (this.#isClosed) node.close();
        resolve(node);
      });
    });
  }
}

/** Which gateway a node says it has not; undefined for any other datagram. */
function readAbsence(data: Buffer): string | undefined {
  let response: RelayResponse | undefined;
  try {
    response = parseRelayResponse(data)?.message;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    // Whatever it is, it is not for us.
    return undefined;
  }
  if (response?.status !== relayStatus.hostUnreachable) return undefined;
  const tunnel = response.features.find((feature) => feature.type === 'tunnel');
  const addr = response.features.find((feature) => feature.type === 'addr');
  if (tunnel === undefined || addr === undefined) return undefined;
  return nameOf(canonicalGateway(addr.address.host), tunnel.id);
}
