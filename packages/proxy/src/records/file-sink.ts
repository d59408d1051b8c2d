import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { ProxyError } from '../core/errors.ts';
import { threadWheel } from '../core/wheel.ts';
import type { Wheel } from '../core/wheel.ts';
import { createDrain } from './drain.ts';
import { createRecordQueue } from './record-queue.ts';
import { defaultCloseMs } from './sink.ts';
import type { Note, RecordLimits, RecordSink } from './sink.ts';

/** How records are written to a file. */
export interface FileSinkOptions extends RecordLimits {
  /** The recorder's name in the file of the configuration. */
  readonly name: string;
  readonly path: string;
  /** Written after each record. Default: nothing, as in GOST. */
  readonly sep?: string;
  readonly note: Note;
  /** How long `close` waits, in milliseconds. Default 5,000. */
  readonly closeMs?: number;
  /** Default: the thread's. */
  readonly wheel?: Wheel;
}

/** A sink that writes to a file. */
export interface FileSink extends RecordSink {
  /**
   * Opens the file, so that one that cannot be written is known before anybody connects. Without it the first record opens
   * it. Rejects with ProxyError.
   */
  open(): Promise<void>;
}

/** As much as is written at once. */
const maxWriteBytes = 1024 * 1024;

/** Appends, and does not wait for whoever may read a named pipe: that is an error, and tried again. */
const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

/** Only the proxy's own user may read what is recorded. */
const mode = 0o600;

/**
 * Appends records to a file, in order, in the background. The file is made with mode 0600 and kept open. What the system
 * has taken counts as written; it is not forced onto the disk. After an error it goes on where it stopped, so that nothing is
 * lost or written twice.
 */
export function createFileSink({
  name,
  path,
  sep = '',
  note,
  closeMs = defaultCloseMs,
  wheel = threadWheel,
  ...limits
}: FileSinkOptions): FileSink {
  const what = `recorder ${name}`;
  const separator = Buffer.from(sep);
  const queue = createRecordQueue<Buffer>({ ...limits, bytesOf: ({ length }) => length, what, note });
  let file: FileHandle | undefined;
  let opening: Promise<FileHandle> | undefined;
  let rest: { readonly records: readonly Buffer[]; bytes: Buffer } | undefined;
  let writing = false;
  let failing = false;
  let abandoned = false;
  let closed: Promise<void> | undefined;

  const opened = async (): Promise<FileHandle> => {
    opening ??= open(path, flags, mode).then((found) => {
      // It may be that nobody waits any more.
      if (abandoned) void found.close().catch(() => undefined);
      return (file = found);
    });
    try {
      return await opening;
    } finally {
      opening = undefined;
    }
  };

  const next = () => {
    const records: Buffer[] = [];
    for (let size = 0; size < maxWriteBytes; size += records.at(-1)!.length) {
      const record = queue.take();
      if (record === undefined) break;
      records.push(record);
    }
    return records.length === 0 ? undefined : { records, bytes: Buffer.concat(records) };
  };

  const write = async (): Promise<void> => {
    writing = true;
    try {
      const to = file ?? (await opened());
      while (!abandoned && (rest ??= next()) !== undefined) {
        while (rest.bytes.length > 0) {
          const { bytesWritten } = await to.write(rest.bytes);
          rest.bytes = rest.bytes.subarray(bytesWritten);
        }
        for (const record of rest.records) queue.done(record);
        rest = undefined;
        if (failing) note(`${what} can be written again`, 'info');
        failing = false;
        drain.succeeded();
      }
    } catch (cause) {
      if (!abandoned) {
        if (!failing) note(`${what} cannot be written, and is tried again: ${reasonOf(cause)}`, 'warn');
        failing = true;
        drain.failed();
      }
    } finally {
      writing = false;
    }
    drain.check();
  };
  const run = () => {
    if (!writing && !drain.isPaused && !queue.isEmpty) void write();
  };
  const drain = createDrain({ wheel, run, isDone: () => queue.isEmpty });

  return {
    async open() {
      try {
        file ??= await opened();
      } catch (cause) {
        throw new ProxyError('internal', 'self', `${path} cannot be written: ${reasonOf(cause)}`, { cause });
      }
    },
    put(data) {
      if (closed !== undefined || !queue.push(Buffer.concat([data, separator]))) return;
      run();
    },
    close() {
      closed ??= drain.close(closeMs).then(async (done) => {
        abandoned = true;
        if (!done) {
          const before = queue.dropped;
          queue.dropAll();
          note(
            `${what}: ${String(queue.dropped - before)} records could not be written before the end`,
            'warn',
          );
        }
        const closing = file?.close().catch((cause: unknown) => {
          note(`${what} could not be closed: ${reasonOf(cause)}`, 'warn');
        });
        // A disk that does not answer would not answer to this either.
        if (done) await closing;
      });
      return closed;
    },
    get dropped() {
      return queue.dropped;
    },
  };
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
