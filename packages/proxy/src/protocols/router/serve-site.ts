import type { Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { lingeringClose } from '../../core/linger.ts';
import { asMetered } from '../../core/metered-conn.ts';
import { threadWheel } from '../../core/wheel.ts';
import { PacketFrames } from '../../wire/packet-frames.ts';
import type { Network } from './network.ts';
import type { Site } from './site.ts';

/**
 * Passes on the packets of a site until it leaves, the service is stopped, or nothing has moved for as long as the service
 * says. Answers what broke the connection, if something did; it is then over or closing.
 */
export async function serveSite(conn: Conn, site: Site, network: Network): Promise<ProxyError | undefined> {
  const { session } = site;
  const { idleMs } = session;
  let broken: ProxyError | undefined;
  let isStopped = false;
  let pending: Promise<Buffer | null> | undefined;
  // Whoever ends it while a read is under way shares that.
  const read = () =>
    (pending ??= conn.read().finally(() => {
      pending = undefined;
    }));
  const takeBack = session.onStopping(() => {
    // Its packets have other ways to go as soon as it knows.
    isStopped = true;
    void lingeringClose(conn, { read });
  });
  const lastMs = () => asMetered(conn)?.lastActivityMs ?? threadWheel.now();
  const idle = threadWheel.timer(
    () => {
      const leftMs = lastMs() + idleMs - threadWheel.now();
      if (leftMs > 0) {
        idle.start(leftMs);
        return;
      }
      broken = new ProxyError('idleTimeout', 'client', `nothing came or went for ${String(idleMs)} ms`);
      conn.reset();
    },
    { isIdle: true },
  );
  if (idleMs > 0) idle.start(idleMs);
  const runs = new Runs(network, site);
  try {
    for (let bytes = await read(); bytes !== null && !isStopped; bytes = await read()) runs.push(bytes);
    // It sends nothing more, and cannot be told apart from one that has gone.
    if (!isStopped) await lingeringClose(conn, { read });
  } catch (error) {
    if (!isStopped) broken ??= ProxyError.from(error);
  } finally {
    idle.stop();
    takeBack();
  }
  return broken;
}

/** Sends packets that follow each other and go to the same site in one piece, as they stand in what was read. */
class Runs {
  readonly #network: Network;
  readonly #site: Site;
  readonly #frames = new PacketFrames();
  #to: Site | undefined;
  #bytes: Buffer | undefined;
  #start = 0;
  #end = 0;

  constructor(network: Network, site: Site) {
    this.#network = network;
    this.#site = site;
  }

  push(bytes: Buffer): void {
    this.#site.heardMs = threadWheel.now();
    this.#frames.push(bytes, this.#each);
    this.#flush();
  }

  readonly #each = (bytes: Buffer, start: number, end: number): void => {
    const to = this.#network.take(bytes, start, end, this.#site);
    if (to !== undefined && to === this.#to && bytes === this.#bytes && start === this.#end) {
      this.#end = end;
      return;
    }
    this.#flush();
    this.#to = to;
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  };

  #flush(): void {
    if (this.#to !== undefined && this.#bytes !== undefined)
      this.#to.send(this.#bytes, this.#start, this.#end);
    this.#to = this.#bytes = undefined;
  }
}
