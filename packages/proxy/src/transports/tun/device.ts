import { constants } from 'node:fs';
import { Socket } from 'node:net';
import type { SocketConstructorOpts } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { ProxyError } from '../../core/errors.ts';
import { formatAddressOf, formatLinkUp, formatRouteTo, parseAnswer } from './netlink.ts';
import type { TunOptions } from './options.ts';
import { closeOnExec } from './system.ts';
import type { System } from './system.ts';

/** A network device of the system whose packets are ours. Whoever opened it closes it; it is gone then. */
export interface Device {
  readonly name: string;
  /** From now on `each` is given every packet that the system sends; the memory is used again for the next one. */
  receive(each: (packet: Buffer) => void): void;
  /** Gives a packet to the system; false: it does not take it. */
  send(packet: Uint8Array): boolean;
  close(): void;
  /** Resolves when it is closed: with the reason, where nobody closed it. */
  readonly closed: Promise<ProxyError | undefined>;
}

/** The request that makes a descriptor of /dev/net/tun a device (linux/if_tun.h); powers have other bits for its direction. */
const setInterface = process.arch === 'ppc64' ? 0x8004_54ca : 0x4004_54ca;

/** IFF_TUN, and IFF_NO_PI: packets with nothing before them. */
const tunFlags = 0x1001;

/** The size of a struct ifreq, and where its name ends. */
const requestBytes = 40;
const nameBytes = 16;

/** The longest packet. */
const maxPacketBytes = 65_535;

/** Packets that are taken before anybody else has a turn. */
const maxBurst = 64;

/** AF_NETLINK, SOCK_RAW, and MSG_DONTWAIT: the system has answered when it has taken a message. */
const netlink = { family: 16, type: 3, dontWait: 0x40 } as const;

/**
 * Makes a device with its addresses and routes. Rejects with ProxyError `listenFailed` or `addressInUse`, nothing being left.
 */
export function openDevice(system: System, options: TunOptions): Device {
  const path = '/dev/net/tun';
  const fd = system.open(path, constants.O_RDWR | constants.O_NONBLOCK | closeOnExec);
  if (fd < 0) throw openError(system.failure(), path);
  try {
    const request = Buffer.alloc(requestBytes);
    request.write(options.name, 'latin1');
    request.writeUInt16LE(tunFlags, nameBytes);
    if (system.ioctl(fd, setInterface, request) < 0) throw makeError(system.failure(), options.name);
    const name = request.toString('latin1', 0, request.indexOf(0));
    configure(system, name, options);
    return new TunDevice(system, fd, name);
  } catch (error) {
    system.close(fd);
    throw error;
  }
}

/**
 * The device is read by Node's own event loop, as a pipe is: no thread waits for it. Node opens only descriptors whose kind it
 * knows; so it is given one end of a pipe, and before it has looked for anything in it the device takes the pipe's place.
 */
class TunDevice implements Device {
  readonly name: string;
  readonly closed: Promise<ProxyError | undefined>;
  readonly #system: System;
  /** Written to. What is read is a second descriptor of the same. */
  readonly #fd: number;
  readonly #reader: Socket;
  #each: (packet: Buffer) => void = () => undefined;
  #isClosed = false;
  #resolveClosed!: (error: ProxyError | undefined) => void;

  constructor(system: System, fd: number, name: string) {
    this.#system = system;
    this.#fd = fd;
    this.name = name;
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    const pipe = [-1, -1];
    if (system.pipe2(pipe, closeOnExec) < 0) throw systemError(system.failure(), `${name} cannot be read`);
    const [read, write] = pipe as [number, number];
    const buffer = Buffer.allocUnsafe(maxPacketBytes);
    const callback = (length: number) => {
      this.#each(buffer.subarray(0, length));
      // Node looks for others first; what is there already is taken at once, so that it can go on together.
      for (let taken = 1; taken < maxBurst && !this.#isClosed; taken++) {
        const more = system.read(fd, buffer, buffer.length);
        if (more <= 0) break;
        this.#each(buffer.subarray(0, more));
      }
      return true;
    };
    // Node's own types know `onread` of connecting sockets alone.
    const options = { fd: read, readable: true, writable: false, onread: { buffer, callback } };
    this.#reader = new Socket(options as SocketConstructorOpts);
    const isReplaced = system.dup3(fd, read, closeOnExec) >= 0;
    const failure = system.failure();
    system.close(write);
    let cause: Error | undefined;
    this.#reader
      .on('error', (error) => {
        cause = error;
      })
      .on('close', () => {
        // Somebody has taken it away; the next packet told us.
        this.#over(new ProxyError('listenFailed', 'self', `the device ${name} is gone`, { cause }));
      });
    if (isReplaced) return;
    this.#isClosed = true;
    this.#reader.destroy();
    throw systemError(failure, `${name} cannot be read`);
  }

  receive(each: (packet: Buffer) => void): void {
    this.#each = each;
  }

  send(packet: Uint8Array): boolean {
    return !this.#isClosed && this.#system.write(this.#fd, packet, packet.length) === packet.length;
  }

  close(): void {
    this.#over(undefined);
  }

  #over(error: ProxyError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#each = () => undefined;
    this.#reader.destroy();
    this.#system.close(this.#fd);
    this.#resolveClosed(error);
  }
}

/** Addresses, up, routes: in this order, because a route's gateway has to be reachable. */
function configure(system: System, name: string, { mtuBytes, addresses, routes }: TunOptions): void {
  const index = system.deviceIndex(name);
  const fd = system.socket(netlink.family, netlink.type | closeOnExec, 0);
  if (fd < 0) throw systemError(system.failure(), `${name} cannot be set up`);
  const ask = (message: Buffer, what: string) => {
    const isSent = system.send(fd, message, message.length, 0) === message.length;
    const answer = Buffer.alloc(1024);
    const length = isSent ? system.recv(fd, answer, answer.length, netlink.dontWait) : -1;
    if (length < 0) throw systemError(system.failure(), `${name} cannot be ${what}`);
    const errno = parseAnswer(answer.subarray(0, length));
    if (errno !== 0) throw systemError(getSystemErrorName(-(errno ?? 1)), `${name} cannot be ${what}`);
  };
  try {
    for (const subnet of addresses)
      ask(formatAddressOf(index, subnet), `given the address ${subnet.address}/${String(subnet.length)}`);
    ask(formatLinkUp(index, mtuBytes), `set up with packets of ${String(mtuBytes)} bytes`);
    for (const route of routes) {
      const by = route.gateway === undefined ? '' : ` by ${route.gateway}`;
      ask(formatRouteTo(index, route), `the way to ${route.to.address}/${String(route.to.length)}${by}`);
    }
  } finally {
    system.close(fd);
  }
}

function openError(code: string, path: string): ProxyError {
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: 'there is none: the kernel has no tun module, or this container has not been given the device',
    ENODEV: 'the kernel has no tun module',
    ENXIO: 'the kernel has no tun module',
    EACCES: 'permission denied',
    EPERM: 'permission denied; this container has not been given the device',
  };
  return systemError(code, `${path} cannot be opened`, reasons[code]);
}

function makeError(code: string, name: string): ProxyError {
  const what = name === '' ? 'no network device can be made' : `the network device ${name} cannot be made`;
  if (code === 'EBUSY')
    return new ProxyError('addressInUse', 'self', `${what}: another program has a device of this name`);
  const reasons: Readonly<Record<string, string>> = {
    EPERM: 'permission denied; it needs the capability CAP_NET_ADMIN',
    EINVAL: 'there is another kind of device of this name, or it is no name for one',
  };
  return systemError(code, what, reasons[code]);
}

function systemError(code: string, what: string, reason = code): ProxyError {
  return new ProxyError('listenFailed', 'self', `${what}: ${reason}`);
}
