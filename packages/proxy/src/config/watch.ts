import { createHash } from 'node:crypto';
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { systemReason } from './system-reason.ts';

/** Programs write a file in several steps; so long after the last one it is looked at. */
const quietMs = 200;

/** Looks out for changes of files. Whoever made it closes it. */
export interface FileWatch {
  /** Looks out for these from now on. */
  watch(files: readonly string[]): void;
  close(): void;
}

/**
 * Calls `changed` when something has happened in the folders of the files: by folder, because editors and deployments put
 * another file in a file's place. Whether a content has changed is for the caller to see. `warn` is told of a folder that
 * cannot be looked after.
 */
export function createFileWatch(changed: () => void, warn: (text: string) => void): FileWatch {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  const touched = () => {
    clearTimeout(timer);
    timer = setTimeout(changed, quietMs).unref();
  };
  const leave = (folder: string) => {
    watchers.get(folder)?.close();
    watchers.delete(folder);
  };
  return {
    watch(files) {
      const folders = new Set(files.map((file) => path.dirname(path.resolve(file))));
      for (const folder of watchers.keys()) if (!folders.has(folder)) leave(folder);
      for (const folder of folders) {
        if (watchers.has(folder)) continue;
        const lost = (error: unknown) => {
          leave(folder);
          warn(
            `changes in ${folder} are not noticed by themselves (${systemReason(error)}); SIGHUP and -R see them`,
          );
        };
        try {
          watchers.set(folder, watch(folder, { persistent: false }, touched).on('error', lost));
        } catch (error) {
          lost(error);
        }
      }
    },
    close() {
      clearTimeout(timer);
      for (const folder of [...watchers.keys()]) leave(folder);
    },
  };
}

/** The same text for the same contents. A file that cannot be read counts as one of its own kind. */
export async function fingerprint(files: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) {
    try {
      hash.update(`${file}\0`).update(
        createHash('sha256')
          .update(await readFile(file))
          .digest(),
      );
    } catch (error) {
      // What is wrong with it is said when it is loaded.
      hash.update(`${file}\0${systemReason(error)}`);
    }
  }
  return hash.digest('hex');
}
