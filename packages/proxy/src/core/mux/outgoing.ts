import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import { abused } from './faults.ts';

/** What is written at once, about: a piece that WebSockets and TLS carry well. */
const batchBytes = 64 * 1024;

/** Parts that are shorter on average are sooner copied than handed to the system one by one. */
const longBytes = 1024;

/**
 * Frames without data that wait because the peer does not read. A peer that reads never comes near it; one that makes us
 * answer and answer would otherwise fill the memory.
 */
const maxControlBytes = 512 * 1024;

/** A stream that has something to send. */
export interface Sender {
  /** Adds the next frame, if one may be sent. Answers its bytes of data. */
  takeFrame(parts: Buffer[]): number;
  /** True while another frame could be taken. */
  readonly isReady: boolean;
}

/** What a session sends: frames without data at once, frames with data by turns, one of each stream at a time. */
export class Outgoing {
  readonly #conn: Conn;
  readonly #side: 'client' | 'upstream';
  readonly #failed: (error: ProxyError) => void;
  #control: Buffer[] = [];
  #controlBytes = 0;
  readonly #ready = new Set<Sender>();
  #afterNext: (() => void)[] = [];
  #isPumping = false;
  #isClosed = false;

  constructor(conn: Conn, side: 'client' | 'upstream', failed: (error: ProxyError) => void) {
    this.#conn = conn;
    this.#side = side;
    this.#failed = failed;
  }

  /** Sends a frame before any that has data. Fails the session where the peer reads none of them. */
  control(frame: Buffer): void {
    if (this.#isClosed) return;
    this.#control.push(frame);
    this.#controlBytes += frame.length;
    if (this.#controlBytes > maxControlBytes)
      this.#failed(abused(this.#side, 'makes us answer and does not read the answers'));
    else this.#start();
  }

  /** Takes frames of a stream when its turn comes. */
  schedule(sender: Sender): void {
    if (this.#isClosed || !sender.isReady) return;
    this.#ready.add(sender);
    this.#start();
  }

  /** The stream has nothing to send any more. */
  drop(sender: Sender): void {
    this.#ready.delete(sender);
  }

  /** Calls back when all that was taken so far has been handed to the connection, or it is over. */
  afterWritten(done: () => void): void {
    if (this.#isClosed || !this.#isPumping) done();
    else this.#afterNext.push(done);
  }

  /** Nothing is sent any more. */
  close(): void {
    this.#isClosed = true;
    this.#control = [];
    this.#ready.clear();
    for (const done of this.#afterNext.splice(0)) done();
  }

  #start(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    // What is said in the same moment goes in one piece.
    queueMicrotask(() => void this.#pump());
  }

  async #pump(): Promise<void> {
    let done: (() => void)[] = [];
    try {
      while (!this.#isClosed && this.#control.length + this.#ready.size > 0) {
        const parts = this.#control;
        this.#control = [];
        this.#controlBytes = 0;
        let bytes = 0;
        for (const sender of this.#ready) {
          if (bytes >= batchBytes) break;
          // It goes to the end of the line.
          this.#ready.delete(sender);
          bytes += sender.takeFrame(parts);
          if (sender.isReady) this.#ready.add(sender);
        }
        done = this.#afterNext.splice(0);
        if (parts.length > 0) await this.#write(parts, bytes);
        for (const each of done.splice(0)) each();
      }
    } catch (cause) {
      this.#failed(ProxyError.from(cause));
    } finally {
      this.#isPumping = false;
      for (const each of [...done, ...this.#afterNext.splice(0)]) each();
    }
  }

  /** As one piece, of which `bytes` are data. */
  #write(parts: readonly Buffer[], bytes: number): Promise<void> {
    const conn = this.#conn;
    if (parts.length === 1) return conn.write(parts[0]!);
    if (conn.writeParts !== undefined && bytes >= parts.length * longBytes) return conn.writeParts(parts);
    return conn.write(Buffer.concat(parts));
  }
}
