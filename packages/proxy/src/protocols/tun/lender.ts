import type { Address } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { threadWheel } from '../../core/wheel.ts';

type Take = (data: Buffer, peer: Address) => void;

/** A device as one relay has it: what the relay closes is what it was lent. */
export interface Loan {
  readonly end: Datagrams;
  /** True once something has come for the device. */
  readonly hasHeard: boolean;
  /**
   * Resolves when the device has sent something, and since then, for at least so many milliseconds, nothing has come for it.
   * Whoever asks stops it.
   */
  silence(ms: number): { readonly heard: Promise<undefined>; stop(): void };
}

/** Gives a device to one relay after the other; the last has it. */
export class Lender {
  readonly #device: Datagrams;
  #take: Take | undefined;

  constructor(device: Datagrams) {
    this.#device = device;
    device.receive((data, peer) => this.#take?.(data, peer));
  }

  lend(): Loan {
    const { local, remote, closed: gone } = this.#device;
    const device = this.#device;
    let end!: () => void;
    const closed = new Promise<void>((resolve) => (end = resolve));
    void gone.then(end);
    let take: Take | undefined;
    let hasHeard = false;
    /** When the first packet was sent that nothing has come after. */
    let unansweredMs: number | undefined;
    return {
      end: {
        ...{ kind: 'datagrams', local, remote, closed },
        receive: (each) => {
          this.#take = take = (data, peer) => {
            unansweredMs ??= threadWheel.now();
            each(data, peer);
          };
        },
        send(data) {
          hasHeard = true;
          unansweredMs = undefined;
          return device.send(data);
        },
        close: () => {
          if (this.#take === take) this.#take = undefined;
          end();
        },
      },
      get hasHeard() {
        return hasHeard;
      },
      silence(ms) {
        let timer: ReturnType<typeof threadWheel.timer> | undefined;
        const heard = new Promise<undefined>((resolve) => {
          timer = threadWheel.timer(
            () => {
              const leftMs = unansweredMs === undefined ? ms : unansweredMs + ms - threadWheel.now();
              if (leftMs > 0) timer!.start(leftMs);
              else resolve(undefined);
            },
            { isIdle: true },
          );
          timer.start(ms);
        });
        return { heard, stop: () => timer?.stop() };
      },
    };
  }
}
