import type { SdService } from '@sallyport/plugin';
import { ProxyError } from '../../core/errors.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { ServiceHost } from '../../core/protocol.ts';
import { threadWheel } from '../../core/wheel.ts';
import type { Wheel, WheelTimer } from '../../core/wheel.ts';
import { nameOf } from './request.ts';
import type { Site } from './site.ts';

/** Calls that are under way at once, whatever number of sites comes or goes. */
const maxCalls = 16;

/** After a call that failed the next comes so soon, then after twice the time, up to the interval of renewals. */
const firstRetryMs = 1000;

/** What is not known to be gone after so many calls is left to expire. */
const maxGoodbyes = 5;

/** How long closing waits for the last calls. */
const closeMs = 5000;

/** What a registrar is made with. */
export interface RegistrarOptions {
  readonly policy: Pick<PolicyOf<'sd'>, 'register' | 'renew' | 'deregister'>;
  /** What this node is called. */
  readonly node: string;
  /** Where other nodes send packets. */
  readonly address: string;
  readonly renewMs: number;
  readonly host: Pick<ServiceHost, 'problem' | 'inform'>;
  /** Default: the thread's. */
  readonly wheel?: Wheel;
}

/**
 * Tells service discovery which gateways have joined here: once when they join, every `renewMs` while they are here, and once
 * when they have left, each with all fields. It does so in the background, one call for a gateway's connection at a time, and
 * again until it is done.
 */
export interface Registrar {
  joined(router: string, site: Pick<Site, 'id' | 'gateway'>): void;
  left(site: Pick<Site, 'id'>): void;
  /** Everything has left. Resolves when that has been said, or cannot be said within 5 s. */
  close(): Promise<void>;
}

/** Makes a registrar. Whoever made it closes it. */
export function createRegistrar(options: RegistrarOptions): Registrar {
  return new SdRegistrar(options);
}

/** One gateway's connection, what is to be said of it, and what has been. */
interface Entry {
  readonly service: SdService;
  readonly timer: WheelTimer;
  isHere: boolean;
  isBusy: boolean;
  /** True while it is known: it need only be renewed. */
  isKnown: boolean;
  /** True once it may be known. */
  wasTold: boolean;
  /** Calls that failed in a row. */
  failures: number;
}

class SdRegistrar implements Registrar {
  readonly #options: RegistrarOptions;
  readonly #wheel: Wheel;
  readonly #entries = new Map<string, Entry>();
  /** What waits for its call. */
  readonly #due = new Set<Entry>();
  #calls = 0;
  #isFailing = false;
  #allGone: (() => void) | undefined;

  constructor(options: RegistrarOptions) {
    this.#options = options;
    this.#wheel = options.wheel ?? threadWheel;
  }

  joined(router: string, { id, gateway }: Pick<Site, 'id' | 'gateway'>): void {
    const { node, address } = this.#options;
    const entry: Entry = {
      service: { id, name: nameOf(gateway, router), node, network: 'udp', address },
      timer: this.#wheel.timer(
        () => {
          this.#isDue(entry);
        },
        { isIdle: true },
      ),
      ...{ isHere: true, isBusy: false, isKnown: false, wasTold: false, failures: 0 },
    };
    this.#entries.set(id, entry);
    this.#isDue(entry);
  }

  left({ id }: Pick<Site, 'id'>): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#leave(entry);
  }

  async close(): Promise<void> {
    for (const entry of [...this.#entries.values()]) this.#leave(entry);
    if (this.#entries.size === 0) return;
    const timer = this.#wheel.timer(() => this.#allGone?.());
    timer.start(closeMs);
    await new Promise<void>((resolve) => (this.#allGone = resolve));
    timer.stop();
    for (const entry of [...this.#entries.values()]) this.#forget(entry);
  }

  #leave(entry: Entry): void {
    if (!entry.isHere) return;
    entry.isHere = false;
    entry.failures = 0;
    // What nobody has been told of need not be taken back.
    if (!entry.wasTold) this.#forget(entry);
    else if (!entry.isBusy) this.#isDue(entry);
  }

  #isDue(entry: Entry): void {
    entry.timer.stop();
    this.#due.add(entry);
    this.#work();
  }

  #work(): void {
    for (const entry of this.#due) {
      if (this.#calls >= maxCalls) return;
      this.#due.delete(entry);
      this.#calls++;
      entry.isBusy = entry.wasTold = true;
      void this.#say(entry).then(() => {
        this.#calls--;
        this.#work();
      });
    }
  }

  async #say(entry: Entry): Promise<void> {
    const { policy, renewMs } = this.#options;
    const { service, isHere } = entry;
    try {
      if (!isHere) await policy.deregister(service, { meta: {} });
      else if (entry.isKnown) await policy.renew(service, { meta: {} });
      else await policy.register(service, { meta: {} });
      entry.isKnown = true;
      entry.failures = 0;
      this.#told(undefined);
    } catch (cause) {
      // Whoever could not be told in time may have forgotten it.
      entry.isKnown = false;
      entry.failures++;
      this.#told(ProxyError.from(cause));
    }
    entry.isBusy = false;
    const isOver = !entry.isHere && !isHere && (entry.failures === 0 || entry.failures >= maxGoodbyes);
    if (isOver || !this.#entries.has(service.id)) this.#forget(entry);
    else if (entry.isHere !== isHere) this.#isDue(entry);
    else {
      const { failures } = entry;
      entry.timer.start(failures === 0 ? renewMs : Math.min(renewMs, firstRetryMs * 2 ** (failures - 1)));
    }
  }

  #told(error: ProxyError | undefined): void {
    const { host } = this.#options;
    if (error === undefined) {
      if (this.#isFailing) host.inform('service discovery is told again which gateways are here');
    } else if (!this.#isFailing) {
      const message = `service discovery is not told which gateways are here, and it is tried again: ${error.message}`;
      host.problem(new ProxyError(error.code, error.at, message, { cause: error }));
    }
    this.#isFailing = error !== undefined;
  }

  #forget(entry: Entry): void {
    entry.timer.stop();
    this.#due.delete(entry);
    this.#entries.delete(entry.service.id);
    if (this.#entries.size === 0) this.#allGone?.();
  }
}
