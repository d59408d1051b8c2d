import { H2Error, h2Code } from './codes.ts';

// An honest sender fills its frames: a block of 64 KiB is four of them.
const maxFrames = 64;

/** Puts together a header block that comes in HEADERS and CONTINUATION (RFC 9113, section 6.10), within bounds. */
export class HeaderAssembly {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #bytes = 0;
  #frames = 0;
  /** 0 while no block is open. */
  streamId = 0;
  /** Whether the stream ends behind this block. */
  isEnded = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isOpen(): boolean {
    return this.streamId !== 0;
  }

  /** Throws H2Error ENHANCE_YOUR_CALM for too many bytes or frames, as {@link add} does. */
  begin(streamId: number, ended: boolean, bytes: Buffer, from: number, to: number): void {
    this.streamId = streamId;
    this.isEnded = ended;
    this.#frames = 0;
    this.#bytes = 0;
    this.#parts = [];
    this.add(bytes, from, to);
  }

  add(bytes: Buffer, from: number, to: number): void {
    this.#frames++;
    this.#bytes += to - from;
    if (this.#bytes > this.#maxBytes || this.#frames > maxFrames) {
      throw new H2Error(
        h2Code.enhanceYourCalm,
        'the header block is larger than allowed, or has too many parts',
      );
    }
    // A copy: the parts of a slow sender would each keep the chunk that they came in.
    this.#parts.push(Buffer.from(bytes.subarray(from, to)));
  }

  take(): Buffer {
    const block = Buffer.concat(this.#parts);
    this.#parts = [];
    this.streamId = 0;
    return block;
  }
}
