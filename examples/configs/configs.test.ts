import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../packages/proxy/src/config/load.ts';
import { formatFindings } from '../../packages/proxy/src/schema/report.ts';

const folder = fileURLToPath(new URL('.', import.meta.url));

describe('every configuration here loads, without a warning', () => {
  for (const name of readdirSync(folder).filter((file) => /\.(ya?ml|json)$/.test(file))) {
    test(name, async () => {
      const { config, report } = await loadConfig([`${folder}${name}`]);
      expect(formatFindings([...report.errors, ...report.warnings])).toEqual([]);
      expect(config?.services.length).toBeGreaterThan(0);
    });
  }
});
