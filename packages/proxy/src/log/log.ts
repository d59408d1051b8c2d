import { openSync } from 'node:fs';
import { pino } from 'pino';
import type { Logger } from 'pino';
import { formatLine } from './text.ts';

/** GOST's names. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

/** What the log is like. */
export interface LogOptions {
  /** The quietest level that is written. Default `info`. */
  readonly level?: LogLevel;
  /**
   * `json`: one object a line with GOST's keys `time`, `level`, `msg`. `text`: one line for people. Default: `text` where
   * the output is a terminal, and otherwise `json`, so that what collects GOST's log finds what it expects.
   */
  readonly format?: 'json' | 'text';
  /** `stderr` (the default), `stdout`, `none` (GOST also says `null`), or the name of a file that is appended to. */
  readonly output?: string;
}

/** An open log. Whoever opened it calls `close` last. */
export interface OpenLog {
  readonly log: Logger;
  /** Resolves when everything is written, or cannot be. Never rejects; nothing may be logged afterwards. */
  close(): Promise<void>;
}

/** What may wait to be written before lines are dropped: a stuck terminal or full pipe must not eat the memory. */
const maxWaitingBytes = 16 * 1024 * 1024;

/** How long a line may wait for others to be written with. Nobody sees it, and a crash costs no more than that. */
const gatherMs = 10;

/**
 * Opens the log. Lines are written in the background. Credentials do not reach it: fields that are named like one are
 * masked, and so is the userinfo of a URL and what follows `Basic` or `Bearer` in any text. Throws the system's error
 * when the file cannot be opened.
 */
export function openLog(options: LogOptions = {}): OpenLog {
  const output = options.output ?? 'stderr';
  const silent = output === 'none' || output === 'null';
  const fd = output === 'stderr' || silent ? 2 : output === 'stdout' ? 1 : openSync(output, 'a');
  const terminal = fd === 2 ? process.stderr.isTTY : fd === 1 && process.stdout.isTTY;
  const format = options.format ?? (terminal ? 'text' : 'json');
  const destination = pino.destination({ fd, sync: false, maxLength: maxWaitingBytes });
  // A reader that has gone (`sallyport | head`) is no reason to stop; there is nowhere left to say so.
  destination.on('error', () => undefined);
  // Lines go out together: a write has to wake a thread, which costs more than all that is said in it.
  let waiting: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    const lines = waiting;
    waiting = [];
    clearTimeout(timer);
    if (lines.length > 0) destination.write(lines.join(''));
  };
  const log = createLog(options.level ?? 'info', silent, {
    write(line) {
      if (waiting.push(format === 'text' ? formatLine(line) : line) === 1)
        timer = setTimeout(flush, gatherMs);
    },
  });
  return {
    log,
    close() {
      flush();
      return new Promise((resolve) => {
        destination.once('close', resolve).once('error', () => {
          resolve();
        });
        destination.end();
      });
    },
  };
}

/** A log that hands each finished JSON line to `sink`. */
export function createLog(level: LogLevel, silent: boolean, sink: { write(line: string): void }): Logger {
  let lastMs = NaN;
  let lastTime = '';
  const time = () => {
    const ms = Date.now();
    if (ms !== lastMs) lastTime = `,"time":"${new Date(ms).toISOString()}"`;
    lastMs = ms;
    return lastTime;
  };
  return pino(
    {
      level: silent ? 'silent' : level,
      base: null,
      messageKey: 'msg',
      timestamp: time,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretPaths, censor: '***' },
      hooks: { streamWrite: maskSecrets },
    },
    sink,
  );
}

const secretKeys = [
  'password',
  'token',
  'authorization',
  'proxyAuthorization',
  '["proxy-authorization"]',
  'auth',
];
const secretPaths = [
  ...secretKeys,
  ...secretKeys.map((key) => (key.startsWith('[') ? `*${key}` : `*.${key}`)),
];

/** Masks what is a credential by its form wherever it stands in a line. */
function maskSecrets(line: string): string {
  return line
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"@\\]+@/gi, '$1***@')
    .replace(/\b(Basic|Bearer)(\s+)[A-Za-z0-9+/=._~-]{4,}/gi, '$1$2***');
}
