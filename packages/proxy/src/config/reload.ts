import type { Logger } from 'pino';
import { ProxyError } from '../core/errors.ts';
import { formatFindings } from '../schema/report.ts';
import { buildGraph } from './build/graph.ts';
import type { Graph } from './build/graph.ts';
import { differences } from './differences.ts';
import type { Loaded } from './load.ts';
import { createFileWatch, fingerprint } from './watch.ts';

/** How long listeners at other machines are waited for, before those that they take the place of go. */
const readyMs = 2000;

/** A configuration that runs, and those before it whose connections have not ended yet. */
export interface Running {
  /** The newest. */
  readonly graph: Graph;
  /**
   * Reads the configuration again and runs it in place of the one that runs. Where something is wrong, that is logged and
   * nothing changes. Never rejects; a further call waits for the one before.
   */
  reload(why: string): Promise<void>;
  /** The same, where a file has another content than when it was last read. */
  reloadIfChanged(why: string): Promise<void>;
  /** Stops accepting; resolves when the last connection of all of them has ended. */
  stop(): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** What a configuration runs with. */
export interface RunOptions {
  /** Reads it (again). */
  readonly load: () => Promise<Loaded>;
  readonly log: Logger;
  /** Looks so often whether a file has changed, in milliseconds; absent: only when the system tells. */
  readonly everyMs?: number | undefined;
}

/** Runs a configuration that was loaded, and looks out for changes. Rejects with ProxyError as `buildGraph` does. */
export async function startRunning(first: Loaded, { load, log, everyMs }: RunOptions): Promise<Running> {
  let seen = await fingerprint(first.files);
  let current = first;
  let graph = await buildGraph(first.config!, first.tls, log);
  const retired = new Set<Graph>();
  let ended = false;
  let turn: Promise<void> = Promise.resolve();
  tell(graph, []);

  const watching = createFileWatch(
    () => void running.reloadIfChanged('a file has changed'),
    (text) => {
      log.warn(text);
    },
  );
  watching.watch(first.files);
  const timer =
    everyMs === undefined
      ? undefined
      : setInterval(() => void running.reloadIfChanged('-R'), everyMs).unref();

  const running: Running = {
    get graph() {
      return graph;
    },
    reload: (why) => next(() => replace(why)),
    reloadIfChanged: (why) =>
      next(async () => {
        if ((await fingerprint(current.files)) !== seen) await replace(why);
      }),
    async stop() {
      leave();
      await turn;
      await Promise.all([graph.stop(), ...[...retired].map((one) => one.stop())]);
    },
    async close() {
      leave();
      await turn;
      await Promise.all([graph.close(), ...[...retired].map((one) => one.close())]);
    },
  };
  return running;

  function leave(): void {
    ended = true;
    watching.close();
    clearInterval(timer);
  }

  function next(work: () => Promise<void>): Promise<void> {
    turn = turn.then(async () => {
      if (ended) return;
      try {
        await work();
      } catch (error) {
        // A ProxyError says all in its message; anything else is a mistake of ours, whose stack is wanted.
        if (error instanceof ProxyError) log.error(error.message);
        else log.error({ err: error }, 'internal error');
        log.error('not reloaded: the configuration that runs goes on');
      }
    });
    return turn;
  }

  async function replace(why: string): Promise<void> {
    log.info(`reloading: ${why}`);
    const before = await fingerprint(current.files);
    const loaded = await load();
    seen = loaded.files.join('\0') === current.files.join('\0') ? before : await fingerprint(loaded.files);
    current = { ...current, files: loaded.files };
    watching.watch(loaded.files);
    for (const warning of formatFindings(loaded.report.warnings)) log.warn(warning);
    if (loaded.config === undefined) {
      for (const error of formatFindings(loaded.report.errors, loaded.report.more)) log.error(error);
      log.error('not reloaded: the configuration that runs goes on');
      return;
    }
    const previous = graph;
    graph = await buildGraph(loaded.config, loaded.tls, log, { previous });
    const wanted = (config: Loaded['config']) => JSON.stringify(config?.log);
    if (wanted(loaded.config) !== wanted(current.config))
      log.warn('what has changed under `log` counts after a restart');
    current = loaded;
    // Who comes to a listener at another machine is brought here by what goes, until what takes its place is there.
    await within(readyMs, graph.ready);
    retired.add(previous);
    void previous
      .retire()
      .then(() => previous.close())
      .catch((error: unknown) => {
        log.error({ err: error }, 'internal error');
      })
      .finally(() => retired.delete(previous));
    tell(graph, previous.listening);
    log.info('reloaded; connections of the configuration before go on until they end');
  }

  /** What listens where, as far as it was not known. */
  function tell({ listening }: Graph, known: Graph['listening']): void {
    for (const line of differences(current.config!)) log.info(line);
    const texts = new Set(known.map(describe));
    for (const one of listening) {
      const text = describe(one);
      if (!texts.has(text)) log.info({ service: one.service }, text);
    }
  }
}

/** Resolves with the promise, or after so many milliseconds. */
async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}

function describe({ service, address, what }: Graph['listening'][number]): string {
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  // A unix socket has no port; a listener at another machine may have left it to that.
  const isPath = /^[/@]/.test(host);
  return `${service} listening on ${isPath ? host : `${host}:${String(address.port)}`} (${what})`;
}
