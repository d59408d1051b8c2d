import type { H2Stream } from './stream.ts';

// Streams that we reset and of which the peer may not know yet: what it still sends on them is no error.
const rememberedResets = 256;
const lastStreamId = 0x7fff_ffff;

/** The streams of one connection that are open, and what is known of the numbers of all others (RFC 9113, section 5.1.1). */
export class StreamTable {
  readonly open = new Map<number, H2Stream>();
  readonly #ownParity: number;
  readonly #resets = new Set<number>();
  #nextOwn: number;
  /** The highest number of a stream that the peer opened; 0 while there is none. */
  lastOfPeer = 0;

  constructor(role: 'client' | 'server', firstOwn: number) {
    this.#ownParity = role === 'client' ? 1 : 0;
    this.#nextOwn = firstOwn;
  }

  get size(): number {
    return this.open.size;
  }

  /** True when no number is left for a stream of our own. */
  get isUsedUp(): boolean {
    return this.#nextOwn > lastStreamId;
  }

  takeOwnId(): number {
    const id = this.#nextOwn;
    this.#nextOwn += 2;
    return id;
  }

  /** True for a number that neither side has used. */
  isIdle(id: number): boolean {
    if ((id & 1) !== this.#ownParity) return id > this.lastOfPeer;
    // A server of ours opens no stream, so all its numbers stay idle.
    return this.#ownParity === 0 || id >= this.#nextOwn;
  }

  rememberReset(id: number): void {
    this.#resets.add(id);
    if (this.#resets.size <= rememberedResets) return;
    for (const oldest of this.#resets) {
      this.#resets.delete(oldest);
      return;
    }
  }

  /** True for a stream that we reset lately. */
  wasReset(id: number): boolean {
    return this.#resets.has(id);
  }
}
