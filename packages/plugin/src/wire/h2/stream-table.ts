import type { H2Stream } from './stream.ts';

// Streams that we reset and of which the peer may not know yet: what it still sends on them is no error.
const rememberedResets = 256;
const fewestPlaces = 64;
const lastStreamId = 0x7fff_ffff;

/** The streams of one connection that are open, and what is known of the numbers of all others (RFC 9113, section 5.1.1). */
export class StreamTable {
  readonly #ownParity: number;
  readonly #resets = new Set<number>();
  // Lists of streams, by the low bits of the number. A Map would do, but one that streams keep coming to and leaving is
  // copied again and again by the runtime, and the copies keep the streams that have gone until the next full collection.
  #places = new Array<H2Stream | undefined>(fewestPlaces).fill(undefined);
  #size = 0;
  #nextOwn: number;
  /** The highest number of a stream that the peer opened; 0 while there is none. */
  lastOfPeer = 0;

  constructor(role: 'client' | 'server', firstOwn: number) {
    this.#ownParity = role === 'client' ? 1 : 0;
    this.#nextOwn = firstOwn;
  }

  /** How many streams are open. */
  get size(): number {
    return this.#size;
  }

  get(id: number): H2Stream | undefined {
    let stream = this.#places[(id >>> 1) & (this.#places.length - 1)];
    while (stream !== undefined && stream.id !== id) stream = stream.nextInTable;
    return stream;
  }

  add(stream: H2Stream): void {
    if (this.#size >= this.#places.length) this.#grow();
    this.#size++;
    this.#put(stream);
  }

  delete(stream: H2Stream): void {
    const place = (stream.id >>> 1) & (this.#places.length - 1);
    let one = this.#places[place];
    if (one === stream) {
      this.#places[place] = stream.nextInTable;
    } else {
      while (one !== undefined && one.nextInTable !== stream) one = one.nextInTable;
      if (one === undefined) return;
      one.nextInTable = stream.nextInTable;
    }
    stream.nextInTable = undefined;
    this.#size--;
  }

  /** The streams that are open now. */
  list(): H2Stream[] {
    const streams: H2Stream[] = [];
    for (const first of this.#places) {
      for (let one = first; one !== undefined; one = one.nextInTable) streams.push(one);
    }
    // By number, so that what is done to all is done in the order in which they were opened.
    return streams.sort((a, b) => a.id - b.id);
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

  #put(stream: H2Stream): void {
    const place = (stream.id >>> 1) & (this.#places.length - 1);
    stream.nextInTable = this.#places[place];
    this.#places[place] = stream;
  }

  #grow(): void {
    const streams = this.list();
    this.#places = new Array<H2Stream | undefined>(this.#places.length * 2).fill(undefined);
    for (const stream of streams) this.#put(stream);
  }
}
