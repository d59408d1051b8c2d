import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

/**
 * Looks where GOST looks when it is not told what to read: `gost.json`, `gost.yaml`, `gost.yml` in `/etc/gost`, then
 * `$HOME/.gost`, then the working folder. Answers the first that is there.
 */
export function findConfig(
  folders: readonly string[] = ['/etc/gost', path.join(homedir(), '.gost'), '.'],
): string | undefined {
  return folders
    .flatMap((folder) => ['gost.json', 'gost.yaml', 'gost.yml'].map((name) => path.join(folder, name)))
    .find((file) => existsSync(file));
}
