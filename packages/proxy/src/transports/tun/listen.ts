import type { Accept, Address, Listening } from '../../core/conn.ts';
import { createDatagramInbox } from '../../core/datagrams.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import { asBuffer } from '../../core/framed-datagrams.ts';
import { threadWheel } from '../../core/wheel.ts';
import { openDevice } from './device.ts';
import type { Device } from './device.ts';
import type { TunOptions } from './options.ts';
import { loadSystem } from './system.ts';
import type { System } from './system.ts';

/** After an end that was there for less than that the next comes so much later; and after a device that could not be made. */
const pauseMs = 1000;

/** The longest time between two attempts to make a device again. */
const maxPauseMs = 30_000;

/**
 * Makes a device, and accepts what comes from it as one end whose datagrams are IP packets. When nobody has the end any more the
 * next is accepted, from the same device; a device that somebody takes away is made again. Closing takes the device away, and
 * ends its end. Rejects with ProxyError `unsupported`, `listenFailed` or `addressInUse`.
 */
export async function listenTun(
  accept: Accept,
  problem: (error: ProxyError) => void,
  options: TunOptions,
  inform: (text: string) => void = () => undefined,
): Promise<Listening> {
  const listener = new TunListener(await loadSystem(), accept, problem, options, inform);
  return listener.listening();
}

class TunListener {
  readonly #system: System;
  readonly #accept: Accept;
  readonly #problem: (error: ProxyError) => void;
  readonly #options: TunOptions;
  readonly #inform: (text: string) => void;
  readonly #timer = threadWheel.timer(() => this.#next());
  #device: Device | undefined;
  #end: TunEnd | undefined;
  #isClosed = false;
  #failures = 0;

  constructor(
    system: System,
    accept: Accept,
    problem: (error: ProxyError) => void,
    options: TunOptions,
    inform: (text: string) => void,
  ) {
    this.#system = system;
    this.#accept = accept;
    this.#problem = problem;
    this.#options = options;
    this.#inform = inform;
  }

  listening(): Listening {
    const { name } = this.#open();
    // Whoever waits for the listener is told of it first.
    setImmediate(() => this.#next());
    return {
      address: { host: name, port: 0 },
      close: () => {
        this.#close();
        return Promise.resolve();
      },
    };
  }

  #open(): Device {
    const device = openDevice(this.#system, this.#options);
    this.#device = device;
    device.receive((packet) => this.#end?.take(packet));
    const { addresses, mtuBytes } = this.#options;
    const written = addresses.map(({ address, length }) => `${address}/${String(length)}`).join(', ');
    this.#inform(
      `device ${device.name} with ${written || 'no address'}, packets up to ${String(mtuBytes)} bytes`,
    );
    void device.closed.then((error) => {
      if (error === undefined) return;
      this.#problem(error);
      this.#device = undefined;
      this.#end?.close();
    });
    return device;
  }

  /** The next end, of the device that is there or of a new one. */
  #next(): void {
    if (this.#isClosed || this.#end !== undefined) return;
    let device: Device;
    try {
      device = this.#device ?? this.#open();
    } catch (cause) {
      this.#problem(ProxyError.from(cause));
      this.#timer.start(Math.min(maxPauseMs, pauseMs * 2 ** this.#failures++));
      return;
    }
    this.#failures = 0;
    const host = this.#options.addresses[0]?.address ?? device.name;
    const end = (this.#end = new TunEnd(device, { host, port: 0 }));
    const since = threadWheel.now();
    void end.closed.then(() => {
      this.#end = undefined;
      // Whoever is refused or fails at once does not come back at once.
      if (this.#device === undefined || threadWheel.now() - since < pauseMs) this.#timer.start(pauseMs);
      else this.#next();
    });
    this.#accept(end);
  }

  #close(): void {
    this.#isClosed = true;
    this.#timer.stop();
    this.#device?.close();
    this.#end?.close();
  }
}

/** The packets of a device, for as long as somebody has them. */
class TunEnd implements Datagrams {
  readonly kind = 'datagrams';
  readonly local: Address;
  readonly remote: Address;
  readonly closed: Promise<void>;
  readonly #device: Device;
  readonly #inbox = createDatagramInbox();
  #isReceived = false;
  #isClosed = false;
  #resolveClosed!: () => void;

  constructor(device: Device, address: Address) {
    this.#device = device;
    this.local = this.remote = address;
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
  }

  take(packet: Buffer): void {
    // The memory is used again for the next one.
    this.#inbox.deliver(this.#isReceived ? packet : Buffer.from(packet), this.remote);
  }

  receive(each: (data: Buffer, peer: Address) => void): void {
    this.#inbox.receive(each);
    this.#isReceived = true;
  }

  send(data: Uint8Array): boolean {
    return !this.#isClosed && this.#device.send(asBuffer(data));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#inbox.close();
    this.#resolveClosed();
  }
}
