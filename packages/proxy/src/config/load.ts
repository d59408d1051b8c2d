import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { parseTree } from '../schema/parse.ts';
import type { ParseLimits, Value } from '../schema/parse.ts';
import { readCommandLine } from './command-line.ts';
import type { CommandLine } from './command-line.ts';
import type { Config } from './merge.ts';
import { resolveConfig } from './references.ts';
import { createReport } from '../schema/report.ts';
import type { Report } from '../schema/report.ts';
import { checkServices } from './services.ts';
import { readConfig } from './sections/services.ts';
import type { FileConfig } from './sections/services.ts';
import { createSource } from '../schema/source.ts';
import type { Source } from '../schema/source.ts';
import { systemReason } from './system-reason.ts';
import { readTlsFiles } from './tls-files.ts';
import type { TlsFiles } from './tls-files.ts';

/** How configuration is loaded. */
export interface LoadOptions {
  /** Unknown keys are warnings. Default false. */
  readonly lenient?: boolean;
  /** What `-C -` reads. Default: standard input. */
  readonly stdin?: Readable;
  /** Services and nodes of the command line, which come after those of the files. */
  readonly commandLine?: CommandLine;
  /** The largest text that is read, in bytes. Default 64 MiB: a million rules fit, and a mistaken path does not hang. */
  readonly maxBytes?: number;
  readonly limits?: Partial<ParseLimits>;
}

/** What loading came to. `config` is there when the report has no errors. */
export interface Loaded {
  readonly config: Config | undefined;
  /** What the `tls` blocks of the configuration name, read from its files. */
  readonly tls: TlsFiles;
  readonly report: Report;
  /** What was read, file by file, as it is written; the command line is the last. */
  readonly trees: readonly Value[];
  /** The files that the configuration stands in, and those that it names certificates and keys by. */
  readonly files: readonly string[];
}

/**
 * Loads configuration from what `-C` names: a file, `-` for standard input, or JSON in braces. Everything that is wrong is
 * in the report, all of it at once; nothing is thrown.
 */
export async function loadConfig(origins: readonly string[], options: LoadOptions = {}): Promise<Loaded> {
  const report = createReport();
  const files: FileConfig[] = [];
  const trees: Value[] = [];
  const reading = { report, lenient: options.lenient ?? false };
  const take = (tree: Value | undefined) => {
    const file = tree && readConfig(tree, '', reading);
    if (tree !== undefined) trees.push(tree);
    if (file !== undefined) files.push(file);
  };
  for (const origin of origins) {
    const source = await readSource(origin, options, report);
    take(source && parseFile(source, report, options));
  }
  if (options.commandLine !== undefined) take(readCommandLine(options.commandLine, reading));
  const config = resolveConfig(files, report);
  const tls = readTlsFiles(config, report);
  checkServices(config, report);
  if (config.services.length === 0 && report.errors.length === 0) {
    const source = createSource(origins.at(-1) ?? '-F', '');
    report.error({ source, offset: 0 }, '', 'no services are configured, so that there is nothing to do');
  }
  const named = origins.filter((origin) => origin !== '-' && !isInline(origin));
  return {
    config: report.errors.length === 0 ? config : undefined,
    tls,
    report,
    trees,
    files: [...new Set([...named, ...tls.names])],
  };
}

/** Loads one text that is already there, without the files that it names. */
export function loadText(
  name: string,
  text: string,
  options: LoadOptions = {},
): Pick<Loaded, 'config' | 'report'> {
  const report = createReport();
  const tree = parseFile(createSource(name, text), report, options);
  const file = tree && readConfig(tree, '', { report, lenient: options.lenient ?? false });
  const config = resolveConfig(file === undefined ? [] : [file], report);
  checkServices(config, report);
  return { config: report.errors.length === 0 ? config : undefined, report };
}

function parseFile(source: Source, report: Report, options: LoadOptions): Value | undefined {
  if (source.tabLines.length > 0) {
    const lines = source.tabLines.slice(0, 20).join(', ') + (source.tabLines.length > 20 ? ', …' : '');
    report.warn(
      { source, offset: lineOffset(source, source.tabLines[0]!) },
      '',
      `tabs in the indentation of line${source.tabLines.length === 1 ? '' : 's'} ${lines} are read as indentation to the next multiple of four columns; GOST does not load such a file`,
    );
  }
  return parseTree(source, report, options.limits);
}

function lineOffset(source: Source, line: number): number {
  let offset = 0;
  for (let skipped = 1; skipped < line; skipped++) offset = source.text.indexOf('\n', offset) + 1;
  return offset;
}

/** GOST's rule: braces on the command line are JSON. */
function isInline(origin: string): boolean {
  return origin.trim().startsWith('{') && origin.trim().endsWith('}');
}

async function readSource(origin: string, options: LoadOptions, report: Report): Promise<Source | undefined> {
  if (isInline(origin)) return createSource('-C', origin);
  const name = origin === '-' ? 'stdin' : origin;
  const fail = (message: string) => {
    report.error({ source: createSource(name, ''), offset: 0 }, '', message);
    return undefined;
  };
  if (/^https?:\/\//i.test(origin)) {
    return fail('GOST fetches a configuration from a URL; this version does not, give it a file');
  }
  const format = /\.(toml|ini|hcl|properties|env|tfvars)$/i.exec(origin)?.[1];
  if (format !== undefined) return fail(`this version reads YAML and JSON, not ${format.toUpperCase()}`);
  const maxBytes = options.maxBytes ?? 64 * 1024 * 1024;
  let file: FileHandle | undefined;
  try {
    if (origin !== '-') file = await open(origin);
    const parts: Buffer[] = [];
    let size = 0;
    const stream: Readable = file?.createReadStream({ autoClose: false }) ?? options.stdin ?? process.stdin;
    for await (const part of stream as AsyncIterable<Buffer | string>) {
      const bytes = typeof part === 'string' ? Buffer.from(part) : part;
      size += bytes.length;
      if (size > maxBytes)
        return fail(`larger than ${String(maxBytes >> 20)} MiB, which is the most that is read`);
      parts.push(bytes);
    }
    return createSource(name, Buffer.concat(parts).toString('utf8'));
  } catch (error) {
    return fail(`cannot be read: ${systemReason(error)}`);
  } finally {
    await file?.close();
  }
}
