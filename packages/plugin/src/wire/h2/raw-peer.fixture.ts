import { once } from 'node:events';
import * as net from 'node:net';
import { clientPreface, flag, frameType } from './codes.ts';
import { FrameReader, frameHeaderBytes, readUint32, writeFrameHeader } from './frames.ts';
import { HpackDecoder, HpackEncoder } from './hpack.ts';

/** A frame as a test sees it. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** The bytes of one frame. */
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

/** The headers of a gRPC request. */
export const requestFields = [
  ':method',
  'POST',
  ':scheme',
  'http',
  ':path',
  '/a.B/C',
  ':authority',
  'a',
  'content-type',
  'application/grpc',
  'te',
  'trailers',
];
export const requestBlock = block(...requestFields);
export const replyBlock = block(':status', '200', 'content-type', 'application/grpc');
export const okTrailersBlock = block('grpc-status', '0');

/** A gRPC message behind its prefix. */
export function message(text: string | Uint8Array): Buffer {
  const body = Buffer.from(text as string);
  return Buffer.concat([Buffer.from([0]), uint32(body.length), body]);
}

/** A whole gRPC request. */
export function request(id: number, text = 'x'): Buffer {
  return Buffer.concat([
    frame(frameType.headers, flag.endHeaders, id, requestBlock),
    frame(frameType.data, flag.endStream, id, message(text)),
  ]);
}

/** A whole gRPC answer. */
export function reply(id: number, text: string | Uint8Array = 'x'): Buffer {
  return Buffer.concat([
    frame(frameType.headers, flag.endHeaders, id, replyBlock),
    frame(frameType.data, 0, id, message(text)),
    frame(frameType.headers, flag.endHeaders | flag.endStream, id, okTrailersBlock),
  ]);
}

/** A peer that speaks HTTP/2 frame by frame, exactly as the test says. */
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

  /** The next frame of this type, skipping others. Rejects when the connection closes before it comes. */
  async next(type: number): Promise<Frame> {
    for (;;) {
      while (this.#seen < this.frames.length) {
        const one = this.frames[this.#seen++]!;
        if (one.type === type) return one;
      }
      if (this.#isClosed) throw new Error(`the connection closed before a frame of type ${type} came`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
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
    return { id, flags, fields: this.#decoder.decode(payload) };
  }
}

/** A listening server and what it accepted; everything is closed by `close`. */
export async function listenRaw(
  onSocket: (socket: net.Socket) => void,
): Promise<{ port: number; close: () => Promise<void> }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Connects a raw client. */
export async function connectRaw(port: number): Promise<RawPeer> {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return new RawPeer(socket, 'client');
}
