import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadText } from './load.ts';
import { formatFindings } from '../schema/report.ts';

// Each file: a configuration, a line of dashes, and what loading it says: warnings, then errors, or else the result as
// JSON. UPDATE_GOLDEN=1 rewrites the second half; read what changed before you commit it.
const folder = new URL('./testdata/', import.meta.url);
const line = '\n----------\n';

for (const name of readdirSync(folder).filter((file) => file.endsWith('.golden'))) {
  test(name, () => {
    const file = new URL(name, folder);
    const [input, expected] = readFileSync(file, 'utf8').split(line);
    const { config, report } = loadText('file', `${input!}\n`);
    const said = [
      ...formatFindings(report.warnings).map((warning) => `warning: ${warning}`),
      ...formatFindings(report.errors),
      ...(config ? [JSON.stringify(config, shown, 2)] : []),
    ].join('\n');
    if (process.env.UPDATE_GOLDEN) writeFileSync(file, `${input!}${line}${said}\n`);
    else expect(`${said}\n`).toBe(expected);
  });
}

/** Lists that a file does not have are not shown. */
function shown(_key: string, value: unknown): unknown {
  if (Array.isArray(value) && value.length === 0) return undefined;
  return value instanceof Set ? (value.size === 0 ? undefined : [...(value as Set<unknown>)]) : value;
}
