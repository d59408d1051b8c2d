import { flag, frameType } from './codes.ts';
import { frameHeaderBytes, writeFrameHeader, writeUint32 } from './frames.ts';
import type { Outbox } from './outbox.ts';
import { encodeSettings } from './settings.ts';

// What we say in a GOAWAY is for a person; no more of it than fits on a line.
const debugBytes = 256;

/** Writes the small frames that steer a connection. */
export class ControlFrames {
  readonly #outbox: Outbox;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  settings(settings: readonly (readonly [id: number, value: number])[]): void {
    const payload = encodeSettings(settings);
    const at = this.#begin(payload.length, frameType.settings, 0, 0);
    this.#outbox.slab.set(payload, at);
  }

  settingsAck(): void {
    this.#begin(0, frameType.settings, flag.ack, 0);
  }

  /** `payload` is 8 bytes. */
  ping(payload: Uint8Array, ack: boolean): void {
    const at = this.#begin(8, frameType.ping, ack ? flag.ack : 0, 0);
    this.#outbox.slab.set(payload, at);
  }

  windowUpdate(streamId: number, bytes: number): void {
    const at = this.#begin(4, frameType.windowUpdate, 0, streamId);
    writeUint32(this.#outbox.slab, at, bytes);
  }

  reset(streamId: number, code: number): void {
    const at = this.#begin(4, frameType.rstStream, 0, streamId);
    writeUint32(this.#outbox.slab, at, code);
  }

  goAway(lastStreamId: number, code: number, text: string): void {
    const debug = Buffer.from(text).subarray(0, debugBytes);
    let at = this.#begin(8 + debug.length, frameType.goAway, 0, 0);
    const { slab } = this.#outbox;
    at = writeUint32(slab, at, lastStreamId);
    at = writeUint32(slab, at, code);
    slab.set(debug, at);
  }

  /** Makes room for a whole frame and writes its header. It may begin a new slab, so the slab is looked up afterwards. */
  #begin(length: number, type: number, flags: number, streamId: number): number {
    const at = this.#outbox.reserve(frameHeaderBytes + length);
    return writeFrameHeader(this.#outbox.slab, at, length, type, flags, streamId);
  }
}
