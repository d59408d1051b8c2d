import { randomUUID } from 'node:crypto';
import type { Conn } from '../../core/conn.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Session } from '../../core/session.ts';
import { threadWheel } from '../../core/wheel.ts';
import type { Asker } from './answers.ts';
import { PacketWriter } from './packet-writer.ts';

/** What of one site's packets may wait for answers, in bytes. */
const maxWaitingBytes = 256 * 1024;

/** Questions that one site's packets may have open at once. */
const maxQuestions = 64;

/** Questions without an answer that one site may ask in a second: they are not remembered, and each packet would ask again. */
const maxFailures = 16;
const failuresMs = 1000;

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
  isGone = false;
  /** When something last came from it, on the thread's wheel. */
  heardMs = threadWheel.now();
  readonly #writer: PacketWriter;
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
    this.#writer = new PacketWriter(conn);
  }

  /** Sends whole frames, which stand in these bytes; they are not changed any more. What it does not read in time is dropped. */
  send(bytes: Buffer, start: number, end: number): void {
    if (this.isGone || !this.#writer.frames(bytes, start, end)) this.drop();
  }

  /** Counts a packet to it or from it that was not passed on. */
  drop(): void {
    this.session.countDropped();
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
