import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { buildGraph } from './config/build/graph.ts';
import type { Graph } from './config/build/graph.ts';
import { gostVariables } from './config/gost-names.ts';
import { loadConfig } from './config/load.ts';
import type { Loaded } from './config/load.ts';
import { formatFinding, formatFindings } from './schema/report.ts';
import { findConfig } from './config/search.ts';
import { systemReason } from './config/system-reason.ts';
import { ProxyError } from './core/errors.ts';
import { help, parseFlags, usage } from './flags.ts';
import type { Flags } from './flags.ts';
import { openLog } from './log/log.ts';
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
    drainMs,
  });
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
  const found = flags.configs.length === 0 ? findConfig(world.searchFolders) : undefined;
  const origins = found === undefined ? flags.configs : [found];
  if (origins.length === 0) {
    world.err(
      'sallyport: nothing to run: no -C, and no gost.json, gost.yaml or gost.yml where GOST looks for one',
    );
    world.err(usage);
    return 2;
  }
  const loaded = await loadConfig(origins, { lenient: flags.lenient, stdin: world.stdin });
  if (flags.command === 'check') return check(origins, loaded, world);
  const { config, report } = loaded;
  const level = chooseLevel(flags, world);
  if (level === 'wrong' || config === undefined) {
    for (const line of formatFindings(report.errors, report.more)) world.err(line);
    return 2;
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
    for (const name of gostVariables) {
      if (world.env[name]) log.warn(`${name} is set; this version does not serve what GOST uses it for`);
    }
    return await serve(await buildGraph(config, loaded.tls, log), opened, world);
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
async function serve(graph: Graph, { log }: OpenLog, world: World): Promise<0 | 1> {
  for (const { service, address, what } of graph.listening) {
    const host = address.host.includes(':') ? `[${address.host}]` : address.host;
    log.info({ service }, `${service} listening on ${host}:${String(address.port)} (${what})`);
  }
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
  log.info('stopping: no new connections; those that are open may finish (once more to end at once)');
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), world.drainMs);
  });
  const drained = graph.stop().then(() => 'drained' as const);
  const how = await Promise.race([drained, twice, late]);
  clearTimeout(timer);
  await graph.close();
  if (how === 'late')
    log.warn(`stopped; connections still open after ${String(world.drainMs / 1000)} s were cut`);
  else log.info(how === 'cut' ? 'stopped at once' : 'stopped');
  return 0;
}

function check(origins: readonly string[], { config, report }: Loaded, world: World): 0 | 2 {
  for (const warning of formatFindings(report.warnings)) world.err(`warning: ${warning}`);
  for (const error of formatFindings(report.errors, report.more)) world.err(error);
  if (config === undefined) return 2;
  const count = (number: number, what: string) => `${String(number)} ${what}${number === 1 ? '' : 's'}`;
  world.out(
    `${origins.join(', ')}: good: ${count(config.services.length, 'service')}, ${count(config.authers.length, 'auther')}`,
  );
  return 0;
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
