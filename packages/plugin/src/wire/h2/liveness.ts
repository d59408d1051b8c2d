import { deadlines } from '../deadlines.ts';
import type { Deadline } from '../deadlines.ts';
import { h2Code } from './codes.ts';
import type { H2Connection } from './connection.ts';
import type { Inbound } from './inbound.ts';

const tickMs = 1000;
const pingPayload = Buffer.from('sallypng', 'latin1');

/**
 * The clock of a connection. It looks once a second whether the peer has stalled, and only while something is open; an idle
 * connection costs no timer.
 */
export class Liveness {
  readonly #connection: H2Connection;
  readonly #inbound: Inbound;
  readonly #keepaliveMs: number | undefined;
  readonly #tick: Deadline;
  readonly #drainLimit: Deadline;
  readonly #pongLimit: Deadline;
  #isTicking = false;
  #hasReceived = false;
  #quietMs = 0;
  #unfinishedMs = 0;
  #finishedUnits = 0;
  #stalledMs = 0;
  #sentBodyBytes = 0;
  #writtenBytes = 0;
  #pingMs = -1;
  #onPong: (() => void) | undefined;

  constructor(connection: H2Connection, inbound: Inbound, keepaliveMs: number | undefined) {
    this.#connection = connection;
    this.#inbound = inbound;
    this.#keepaliveMs = keepaliveMs;
    this.#tick = makeDeadline(() => this.#onTick());
    this.#drainLimit = makeDeadline(() => connection.close());
    this.#pongLimit = makeDeadline(() => this.onPong());
    this.#start();
  }

  /** Something came in or a stream was opened: the clock runs. */
  touch(): void {
    this.#hasReceived = true;
    if (!this.#isTicking) this.#start();
  }

  stop(): void {
    deadlines.clear(this.#tick);
    deadlines.clear(this.#drainLimit);
    deadlines.clear(this.#pongLimit);
    this.#isTicking = true;
    this.#onPong = undefined;
  }

  closeAfter(drainMs: number): void {
    deadlines.set(this.#drainLimit, drainMs);
  }

  /** Sends a PING and calls back when the answer comes, or after a second. */
  pingThen(onPong: () => void): void {
    this.#onPong = onPong;
    this.#ping();
    deadlines.set(this.#pongLimit, tickMs);
  }

  probe(): void {
    if (this.#keepaliveMs === undefined || this.#pingMs >= 0) return;
    this.#ping();
    if (!this.#isTicking) this.#start();
  }

  onPong(): void {
    this.#pingMs = -1;
    const onPong = this.#onPong;
    this.#onPong = undefined;
    deadlines.clear(this.#pongLimit);
    onPong?.();
  }

  #ping(): void {
    this.#pingMs = 0;
    this.#hasReceived = false;
    this.#connection.control.ping(pingPayload, false);
  }

  #start(): void {
    this.#isTicking = true;
    deadlines.set(this.#tick, tickMs);
  }

  #onTick(): void {
    const connection = this.#connection;
    this.#isTicking = false;
    connection.budget.refill();
    this.#watchReading();
    if (connection.end === undefined) this.#watchWriting();
    if (connection.end === undefined && connection.role === 'server') this.#watchRequests();
    if (connection.end === undefined) this.#watchPeer();
    if (connection.end !== undefined) return;
    if (this.#isNeeded()) this.#start();
    else connection.outbox.rest();
  }

  #isNeeded(): boolean {
    const { budget, streams, outbox } = this.#connection;
    return (
      streams.size > 0 ||
      this.#pingMs >= 0 ||
      !budget.isFull ||
      outbox.waitingBytes > 0 ||
      this.#inbound.isUnfinished
    );
  }

  #watchReading(): void {
    const isSame = this.#inbound.finishedUnits === this.#finishedUnits;
    this.#finishedUnits = this.#inbound.finishedUnits;
    this.#unfinishedMs = this.#inbound.isUnfinished && isSame ? this.#unfinishedMs + tickMs : 0;
    if (this.#unfinishedMs > this.#connection.limits.frameTimeoutMs) {
      this.#connection.fail(
        h2Code.enhanceYourCalm,
        'the peer did not finish its preface, a frame or a header block in time',
      );
    }
  }

  #watchWriting(): void {
    const { flow, outbox, socket, limits } = this.#connection;
    const written = socket.bytesWritten - socket.writableLength;
    const hasMoved = flow.sentBodyBytes !== this.#sentBodyBytes || written !== this.#writtenBytes;
    const waits = flow.isWaiting || socket.writableLength > 0;
    this.#sentBodyBytes = flow.sentBodyBytes;
    this.#writtenBytes = written;
    this.#stalledMs = waits && !hasMoved ? this.#stalledMs + tickMs : 0;
    if (this.#stalledMs > limits.stallTimeoutMs) {
      this.#connection.fail(h2Code.enhanceYourCalm, 'the peer takes nothing of what it asked for');
      // A peer that does not read would keep the socket for as long as it likes.
      socket.destroy();
    } else if (outbox.waitingBytes > 4 * limits.maxWaitingBytes) {
      this.#connection.fail(h2Code.enhanceYourCalm, 'too much waits for a peer that does not read');
      socket.destroy();
    }
  }

  #watchRequests(): void {
    const { streams, limits, budget } = this.#connection;
    for (const stream of streams.list()) {
      if (stream.isRemoteEnded) continue;
      stream.ageSeconds++;
      if (stream.ageSeconds * 1000 > limits.requestTimeoutMs) {
        this.#connection.refuseStream(stream, h2Code.cancel, 'the request did not come to an end in time');
        // One may be an accident; a connection full of them is not.
        if (!budget.spend(limits.maxIdleFrames / 10)) {
          this.#connection.fail(h2Code.enhanceYourCalm, 'too many requests that do not come to an end');
          return;
        }
      }
    }
  }

  #watchPeer(): void {
    if (this.#hasReceived) {
      this.#hasReceived = false;
      this.#quietMs = 0;
      this.#pingMs = -1;
      return;
    }
    const { streams, role } = this.#connection;
    this.#quietMs += tickMs;
    if (this.#keepaliveMs === undefined || role === 'server') return;
    if (this.#pingMs >= 0) {
      this.#pingMs += tickMs;
      if (this.#pingMs >= this.#keepaliveMs) {
        this.#connection.fail(h2Code.noError, 'the peer did not answer a PING');
        this.#connection.socket.destroy();
      }
    } else if (streams.size > 0 && this.#quietMs >= this.#keepaliveMs) {
      this.#ping();
    }
  }
}

function makeDeadline(onDeadline: () => void): Deadline {
  return { onDeadline, dueMs: 0, previous: undefined, next: undefined };
}
