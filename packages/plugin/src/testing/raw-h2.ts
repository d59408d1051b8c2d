import type * as net from 'node:net';
import { clientPreface, flag, frameType } from '../wire/h2/codes.ts';
import { FrameReader, frameHeaderBytes, readUint32, writeFrameHeader } from '../wire/h2/frames.ts';
import { HpackDecoder, HpackEncoder } from '../wire/h2/hpack.ts';

/** A frame as a raw peer sees it. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** The bytes of one frame, however wrong. */
export function frame(
  type: number,
  flags: number,
  id: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const bytes = Buffer.alloc(frameHeaderBytes + payload.length);
  bytes.set(payload, writeFrameHeader(bytes, 0, payload.length, type, flags, id));
  return bytes;
}

/** 32 bits, most significant first. */
export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeUInt32BE(value, i * 4));
  return bytes;
}

/** The bytes of a SETTINGS frame. */
export function settings(...pairs: (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  pairs.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  });
  return frame(frameType.settings, 0, 0, payload);
}

/** A header block without any table. */
export function block(...fields: string[]): Buffer {
  return new HpackEncoder({ maxTableBytes: 0 }).encode(fields);
}

/** The fields with which a gRPC answer begins. */
export const grpcFields = [':status', '200', 'content-type', 'application/grpc'];
export const replyBlock = block(...grpcFields);
export const okTrailersBlock = block('grpc-status', '0');

/** A header section that does not end its stream. */
export function headers(id: number, ...fields: string[]): Buffer {
  return frame(frameType.headers, flag.endHeaders, id, block(...fields));
}

/** A header section that ends its stream. */
export function trailers(id: number, ...fields: string[]): Buffer {
  return frame(frameType.headers, flag.endHeaders | flag.endStream, id, block(...fields));
}

/** A frame of a body. */
export function data(id: number, bytes: Uint8Array, flags = 0): Buffer {
  return frame(frameType.data, flags, id, bytes);
}

/** A gRPC message behind its prefix, which may lie about the length. */
export function message(text: string | Uint8Array, length = Buffer.from(text as string).length): Buffer {
  return Buffer.concat([Buffer.from([0]), uint32(length), Buffer.from(text as string)]);
}

/** A gRPC message that says to be compressed. */
export function compressed(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([1]), uint32(bytes.length), bytes]);
}

/** A whole gRPC answer. */
export function reply(id: number, text: string | Uint8Array = 'x'): Buffer {
  return Buffer.concat([
    frame(frameType.headers, flag.endHeaders, id, replyBlock),
    data(id, message(text)),
    frame(frameType.headers, flag.endHeaders | flag.endStream, id, okTrailersBlock),
  ]);
}

/** A peer that speaks HTTP/2 frame by frame, exactly as it is told, and does nothing by itself. */
export class RawPeer {
  readonly socket: net.Socket;
  readonly frames: Frame[] = [];
  readonly closed: Promise<void>;
  readonly #decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 1 << 20 });
  #seen = 0;
  #wake: (() => void)[] = [];
  #isClosed = false;

  /** `role` is the one that this peer plays; a server first reads the client's preface. */
  constructor(socket: net.Socket, role: 'client' | 'server') {
    this.socket = socket;
    let preface = role === 'server' ? clientPreface.length : 0;
    const reader = new FrameReader(
      {
        onFrame: (type, flags, id, bytes, from, to) => {
          this.frames.push({ type, flags, id, payload: Buffer.from(bytes.subarray(from, to)) });
        },
      },
      1 << 24,
    );
    socket.on('data', (chunk: Buffer) => {
      const skip = Math.min(preface, chunk.length);
      preface -= skip;
      reader.push(chunk.subarray(skip));
      this.#notify();
    });
    socket.on('error', () => {});
    this.closed = new Promise((resolve) =>
      socket.once('close', () => {
        this.#isClosed = true;
        this.#notify();
        resolve();
      }),
    );
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  send(...parts: Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(parts));
  }

  /** The client's first words, and acceptance of whatever the server says. */
  greet(...pairs: (readonly [number, number])[]): void {
    this.send(clientPreface, settings(...pairs));
  }

  /** The next frame of any type. Rejects when the connection closes before it comes. */
  async nextFrame(): Promise<Frame> {
    for (;;) {
      const one = this.frames[this.#seen];
      if (one !== undefined) {
        this.#seen++;
        return one;
      }
      if (this.#isClosed) throw new Error('the connection closed before the next frame came');
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** The next frame of this type, skipping others. Rejects when the connection closes before it comes. */
  async next(type: number): Promise<Frame> {
    for (;;) {
      const one = await this.nextFrame();
      if (one.type === type) return one;
    }
  }

  /** The code of the next GOAWAY. */
  async goAwayCode(): Promise<number> {
    return readUint32((await this.next(frameType.goAway)).payload, 4);
  }

  /** The code of the next RST_STREAM. */
  async resetCode(): Promise<number> {
    return readUint32((await this.next(frameType.rstStream)).payload, 0);
  }

  /** The next header section. All sections must be read, in their order. */
  async section(): Promise<{ id: number; flags: number; fields: string[] }> {
    const { id, flags, payload } = await this.next(frameType.headers);
    return { id, flags, fields: this.fieldsOf(payload) };
  }

  /** Reads a header block. All blocks must be read, in their order. */
  fieldsOf(headerBlock: Buffer): string[] {
    return this.#decoder.decode(headerBlock);
  }
}
