import type { SdService } from '@sallyport/plugin';
import type { BackgroundQueue } from './background-queue.ts';
import type { PolicyOf } from './policies.ts';
import type { Wheel, WheelTimer } from './wheel.ts';

/** A connection of a tunnel or a site, as other nodes are told of it. */
export type Announced = Pick<SdService, 'id' | 'name' | 'network'>;

/** What an announcer is made with. */
export interface AnnouncerOptions {
  readonly sd: PolicyOf<'sd'>;
  /** This node's UUID. */
  readonly node: string;
  /** Where other nodes reach this one, as sd is told. */
  readonly address: () => string;
  /** How often sd is told that a connector is still here. */
  readonly renewMs: number;
  /** Where the calls wait; its owner closes it. */
  readonly queue: BackgroundQueue;
  readonly wheel: Wheel;
}

/**
 * Tells sd what is here: once when it has come, every `renewMs` while it is here, and once when it has gone, each
 * with all fields, where GOST leaves out two of them. All of it happens in the background, so that nobody waits for sd.
 */
export interface Announcer {
  /** `wasTold`: sd may have heard of it from another announcer. Default false. */
  here(connector: Announced, wasTold?: boolean): void;
  /** Does nothing for one that is not known to be here. */
  gone(connector: Pick<Announced, 'id'>): void;
  /** Lets somebody else speak of all that is here: nothing more is said of it, also not that it has gone. */
  handOverTo(other: Announcer): void;
}

interface Entry {
  readonly connector: Announced;
  readonly timer: WheelTimer;
  /** True while sd is likely to know it, so that it need only be renewed. */
  isKnown: boolean;
  /** True once sd may have heard of it. */
  wasTold: boolean;
}

/** Makes an announcer. When nothing is here any more it holds nothing. */
export function createAnnouncer(options: AnnouncerOptions): Announcer {
  const { sd, node, address, renewMs, queue, wheel } = options;
  const entries = new Map<string, Entry>();
  const service = ({ id, name, network }: Announced): SdService => ({
    ...{ id, name, node, network, address: address() },
  });
  const isHere = (entry: Entry) => entries.get(entry.connector.id) === entry;
  const tell = (entry: Entry) => {
    const { connector, timer } = entry;
    queue.push(connector.id, {
      kind: 'here',
      async run(signal) {
        // It may have gone while this waited.
        if (!isHere(entry)) return;
        const call = { meta: {}, signal };
        const { isKnown } = entry;
        entry.wasTold = true;
        // One that has not been renewed in time may have been forgotten.
        entry.isKnown = false;
        if (isKnown) await sd.renew(service(connector), call);
        else await sd.register(service(connector), call);
        entry.isKnown = true;
      },
    });
    timer.start(renewMs);
  };
  const forget = (entry: Entry) => {
    entry.timer.stop();
    entries.delete(entry.connector.id);
  };
  return {
    here(connector, wasTold = false) {
      const run = () => {
        tell(entry);
      };
      const timer = wheel.timer(run, { isIdle: true });
      const entry: Entry = { connector, timer, isKnown: false, wasTold };
      entries.set(connector.id, entry);
      tell(entry);
    },
    gone({ id }) {
      const entry = entries.get(id);
      if (entry === undefined) return;
      forget(entry);
      queue.push(id, {
        kind: 'gone',
        async run(signal) {
          if (entry.wasTold) await sd.deregister(service(entry.connector), { meta: {}, signal });
        },
      });
    },
    handOverTo(other) {
      for (const entry of [...entries.values()]) {
        forget(entry);
        other.here(entry.connector, entry.wasTold);
      }
    },
  };
}
