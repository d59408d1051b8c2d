import { randomUUID } from 'node:crypto';
import type { Conn } from '../../core/conn.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Session } from '../../core/session.ts';
import { threadWheel } from '../../core/wheel.ts';
import type { Asker } from './answers.ts';

/** What may wait for a site that reads slowly; packets beyond are dropped, as a network would. */
const maxQueuedBytes = 512 * 1024;

/** What of one site's packets may wait for answers, in bytes. */
const maxWaitingBytes = 256 * 1024;

/** Questions that one site's packets may have open at once. */
const maxQuestions = 64;

/** Questions without an answer that one site may ask in a second: they are not remembered, and each packet would ask again. */
const maxFailures = 16;
const failuresMs = 1000;

/** A piece keeps all of the memory that it was read into; one that is a smaller part of it than that is copied. */
const maxKeptFactor = 4;

/** Who is asked in a site's name, and for how long answers count. */
export interface SiteModules {
  /** The first that has a route decides. */
  readonly routers: readonly PolicyOf<'router'>[];
  readonly sd: PolicyOf<'sd'> | undefined;
  readonly routeKeptMs: number;
  readonly sdKeptMs: number;
}

/** What a site is made of. */
export interface SiteOptions extends SiteModules {
  readonly gateway: string;
  /** Who its client proved to be. */
  readonly owner: string;
  readonly session: Session;
  readonly conn: Conn;
}

/** One connection of a site: what goes to it, and what is asked in its name. */
export class Site implements SiteModules, Asker {
  /** What it is called towards itself and towards service discovery: a UUID. */
  readonly id: string = randomUUID();
  readonly gateway: string;
  readonly owner: string;
  readonly session: Session;
  readonly routers: readonly PolicyOf<'router'>[];
  readonly sd: PolicyOf<'sd'> | undefined;
  readonly routeKeptMs: number;
  readonly sdKeptMs: number;
  /** Packets to it or from it that were not passed on. */
  dropped = 0;
  isGone = false;
  readonly #conn: Conn;
  #queuedBytes = 0;
  #waitingBytes = 0;
  #questions = 0;
  #failures = 0;
  #failuresSince = 0;

  constructor({ gateway, owner, session, conn, routers, sd, routeKeptMs, sdKeptMs }: SiteOptions) {
    this.gateway = gateway;
    this.owner = owner;
    this.session = session;
    this.routers = routers;
    this.sd = sd;
    this.routeKeptMs = routeKeptMs;
    this.sdKeptMs = sdKeptMs;
    this.#conn = conn;
  }

  /** Sends whole frames, which stand in these bytes; they are not changed any more. What it does not read in time is dropped. */
  send(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (this.isGone || this.#queuedBytes + length > maxQueuedBytes) {
      this.dropped++;
      return;
    }
    const piece = bytes.subarray(start, end);
    const isSmall = length * maxKeptFactor < bytes.buffer.byteLength;
    this.#queuedBytes += length;
    const written = () => {
      this.#queuedBytes -= length;
    };
    // Whoever reads finds out that the connection broke.
    this.#conn.write(isSmall ? Buffer.from(piece) : piece).then(written, written);
  }

  wait(bytes: number): boolean {
    if (this.#waitingBytes + bytes > maxWaitingBytes) return false;
    this.#waitingBytes += bytes;
    return true;
  }

  waited(bytes: number): void {
    this.#waitingBytes -= bytes;
  }

  mayAsk(): boolean {
    if (this.isGone || this.#questions >= maxQuestions) return false;
    if (this.#failures >= maxFailures && threadWheel.now() - this.#failuresSince < failuresMs) return false;
    this.#questions++;
    return true;
  }

  asked(hasFailed: boolean): void {
    this.#questions--;
    if (!hasFailed) return;
    const now = threadWheel.now();
    if (now - this.#failuresSince >= failuresMs) {
      this.#failuresSince = now;
      this.#failures = 0;
    }
    this.#failures++;
  }
}
