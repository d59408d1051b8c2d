import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { buildGraph } from './config/build/graph.ts';
import { differences } from './config/differences.ts';
import { gostVariables } from './config/gost-names.ts';
import { loadConfig } from './config/load.ts';
import type { Loaded } from './config/load.ts';
import { printConfig } from './config/print.ts';
import { startRunning } from './config/reload.ts';
import type { Running } from './config/reload.ts';
import { formatFinding, formatFindings } from './schema/report.ts';
import { findConfig } from './config/search.ts';
import { systemReason } from './config/system-reason.ts';
import { ProxyError } from './core/errors.ts';
import { help, parseFlags, usage } from './flags.ts';
import type { Flags } from './flags.ts';
import { createLog, openLog } from './log/log.ts';
import type { LogLevel, OpenLog } from './log/log.ts';

/** What the program has of the world outside. Tests give it another one. */
export interface World {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  /** Each call prints one line. */
  out(line: string): void;
  err(line: string): void;
  /** Calls back for each request to end (SIGINT, SIGTERM); answers how to stop listening for them. */
  onStop(request: () => void): () => void;
  /** Calls back for each request to read the configuration again (SIGHUP); answers how to stop listening for them. */
  onReload(request: () => void): () => void;
  /** Where a configuration is looked for when none is named. Default: as GOST. */
  readonly searchFolders?: readonly string[];
  /** How long open connections may go on once the end is asked for, in milliseconds. */
  readonly drainMs: number;
}

/** Half a minute: most transfers end by then, and service managers wait for longer before they kill. */
const drainMs = 30_000;

/**
 * The program. Sets the exit code: 0 ended as asked, 1 something failed while running, 2 wrong flags or configuration.
 * It ends by itself once everything is closed; a second request to end closes everything at once.
 */
// ts-unused-exports:disable-next-line
export async function main(argv: readonly string[]): Promise<void> {
  growHeap();
  process.exitCode = await run(argv, {
    env: process.env,
    stdin: process.stdin,
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    onStop(request) {
      const signals = ['SIGINT', 'SIGTERM'] as const;
      for (const signal of signals) process.on(signal, request);
      return () => {
        for (const signal of signals) process.off(signal, request);
      };
    },
    onReload(request) {
      process.on('SIGHUP', request);
      return () => process.off('SIGHUP', request);
    },
    drainMs,
  });
  endForCertain();
}

/**
 * Lets what V8 collects in full grow to four times what is alive, which is its own limit where a collection is cheap. It would
 * choose the least limit here, as little else than buffers is made; these count as well, and half of the time of a busy proxy
 * went into collecting them. `docs/decisions/0016` has the figures.
 */
function growHeap(): void {
  setFlagsFromString('--heap-growing-percent=300');
}

/** A second is far more than what was closed takes to be gone. */
const leftOpenMs = 1000;

/**
 * Everything is closed, and the process ends by itself as soon as the system has taken note. Should something have been
 * overlooked, it is named and does not keep the program: whoever asked for the end shall have it.
 */
function endForCertain(): void {
  setTimeout(() => {
    const open = process
      .getActiveResourcesInfo()
      .filter((kind) => kind !== 'Timeout' && !/TTY|Pipe/.test(kind));
    process.stderr.write(`sallyport: ended with something left open (${open.join(', ') || 'timers'})\n`);
    process.exit();
  }, leftOpenMs).unref();
}

/** Does what the arguments say and answers the exit code. Never throws. */
export async function run(argv: readonly string[], world: World): Promise<0 | 1 | 2> {
  const { flags, problems } = parseFlags(argv);
  if (flags.help) {
    world.out(help);
    return 0;
  }
  if (flags.version) {
    world.out(
      `sallyport ${version()} (node ${process.version.slice(1)} ${process.platform}/${process.arch})`,
    );
    return 0;
  }
  if (problems.length > 0) {
    for (const problem of problems) world.err(`sallyport: ${problem}`);
    world.err(usage);
    return 2;
  }
  const { configs, services, nodes, lenient } = flags;
  const nothing = configs.length + services.length + nodes.length === 0;
  const found = nothing ? findConfig(world.searchFolders) : undefined;
  const origins = found === undefined ? configs : [found];
  if (nothing && found === undefined) {
    world.err(
      'sallyport: nothing to run: no -L, no -C, and no gost.json, gost.yaml or gost.yml where GOST looks for one',
    );
    world.err(usage);
    return 2;
  }
  const stdin = remembered(world.stdin);
  const load = () =>
    loadConfig(origins, {
      lenient,
      stdin: stdin(),
      ...(services.length + nodes.length > 0 && { commandLine: { services, nodes } }),
    });
  const loaded = await load();
  if (flags.command === 'check') return check([...origins, ...services.map(() => '-L')], loaded, world);
  const { config, report } = loaded;
  const level = chooseLevel(flags, world);
  if (level === 'wrong' || config === undefined) {
    for (const line of formatFindings(report.errors, report.more)) world.err(line);
    return 2;
  }
  if (flags.print !== undefined) {
    world.out(printConfig(loaded.trees, flags.print));
    return 0;
  }
  let opened: OpenLog;
  try {
    opened = openLog({ ...config.log, level: level ?? config.log?.level });
  } catch (error) {
    const place = config.log?.at('output');
    const message = `${config.log?.output ?? ''} cannot be opened: ${systemReason(error)}`;
    world.err(place ? formatFinding({ place, path: 'log.output', message }) : message);
    return 2;
  }
  const { log } = opened;
  try {
    if (found !== undefined) log.info(`configuration read from ${found}`);
    for (const warning of formatFindings(report.warnings)) log.warn(warning);
    for (const ignored of flags.ignored) log.warn(ignored);
    for (const name of gostVariables) {
      if (world.env[name]) log.warn(`${name} is set; this version does not serve what GOST uses it for`);
    }
    return await serve(await startRunning(loaded, { load, log, everyMs: flags.reloadMs }), opened, world);
  } catch (error) {
    // A ProxyError says all in its message; anything else is a mistake of ours, whose stack is wanted.
    if (error instanceof ProxyError) log.fatal(error.message);
    else log.fatal({ err: error }, 'internal error');
    return 1;
  } finally {
    await opened.close();
  }
}

/** Waits for the end to be asked for, then for the connections that are open. */
async function serve(running: Running, { log }: OpenLog, world: World): Promise<0 | 1> {
  const offReload = world.onReload(() => void running.reload('SIGHUP'));
  let requests = 0;
  let again = () => {};
  const twice = new Promise<'cut'>((resolve) => {
    again = () => resolve('cut');
  });
  await new Promise<void>((resolve) => {
    const off = world.onStop(() => {
      requests++;
      resolve();
      if (requests < 2) return;
      off();
      again();
    });
  });
  offReload();
  log.info('stopping: no new connections; those that are open may finish (once more to end at once)');
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), world.drainMs);
  });
  const drained = running.stop().then(() => 'drained' as const);
  const how = await Promise.race([drained, twice, late]);
  clearTimeout(timer);
  await running.close();
  if (how === 'late')
    log.warn(`stopped; connections still open after ${String(world.drainMs / 1000)} s were cut`);
  else log.info(how === 'cut' ? 'stopped at once' : 'stopped');
  return 0;
}

/** Says what is wrong with a configuration, then whether each plugin of one that is good can be asked. */
async function check(
  origins: readonly string[],
  { config, tls, report }: Loaded,
  world: World,
): Promise<0 | 1 | 2> {
  for (const warning of formatFindings(report.warnings)) world.err(`warning: ${warning}`);
  for (const error of formatFindings(report.errors, report.more)) world.err(error);
  if (config === undefined) return 2;
  const log = createLog('fatal', false, { write: () => undefined });
  try {
    const graph = await buildGraph(config, tls, log, { listen: false });
    const plugins = await graph.checkPlugins();
    await graph.close();
    for (const line of differences(config)) world.out(line);
    for (const { what, addr, error } of plugins) {
      // An address may be a URL with a password in it.
      const shown = addr.replace(/(:\/\/)[^/@]*@/, '$1***@');
      world.out(`${what}: ${shown}: ${error === undefined ? 'answers' : `cannot be asked: ${error}`}`);
    }
    const failed = plugins.filter(({ error }) => error !== undefined).length;
    const counts = [count(config.services.length, 'service'), count(plugins.length, 'plugin')].join(', ');
    const verdict = failed === 0 ? 'good' : `good, but ${count(failed, 'plugin')} cannot be asked`;
    world.out(`${origins.join(', ')}: ${verdict}: ${counts}`);
    return failed === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    world.err(error.message);
    return 2;
  }
}

function count(number: number, what: string): string {
  return `${String(number)} ${what}${number === 1 ? '' : 's'}`;
}

/** Standard input can be read once; for a reload it is what it was. */
function remembered(stdin: Readable): () => Readable {
  const chunks: (Buffer | string)[] = [];
  let first = true;
  return () => {
    if (!first) return Readable.from(chunks);
    return Readable.from(read());
  };

  async function* read() {
    first = false;
    for await (const chunk of stdin as AsyncIterable<Buffer | string>) {
      chunks.push(chunk);
      yield chunk;
    }
  }
}

/** Flags before the environment before the file, as in GOST. */
function chooseLevel(flags: Flags, world: World): LogLevel | 'wrong' | undefined {
  if (flags.level !== undefined) return flags.level;
  const wanted = world.env.GOST_LOGGER_LEVEL;
  if (!wanted) return undefined;
  const known: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];
  const found = known.find((level) => level === wanted.toLowerCase());
  if (found === undefined) world.err(`GOST_LOGGER_LEVEL names no log level; known: ${known.join(', ')}`);
  return found ?? 'wrong';
}

function version(): string {
  // The same place seen from src and from dist.
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
