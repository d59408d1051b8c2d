import { readFileSync } from 'node:fs';
import { pluginErrorCodes } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { ProxyError, proxyErrorCodes } from '../src/core/errors.ts';
import { statusOf } from '../src/core/http/replies.ts';

const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
const [ours, plugins] = page
  .split('\n## ')
  .map((part) => [...part.matchAll(/^\| `(\w+)` \| ([^|]*) \|/gm)].map(([, code, next]) => [code!, next!]));

describe('docs/errors.md', () => {
  test('lists every code of ProxyError, in order, with its HTTP status', () => {
    expect(ours).toEqual(
      proxyErrorCodes.map((code) => {
        const status = statusOf(new ProxyError(code, 'self', 'x'));
        return [code, status === undefined ? '–' : String(status)];
      }),
    );
  });

  test('lists every code of PluginError', () => {
    expect(plugins!.map(([code]) => code)).toEqual(pluginErrorCodes);
  });
});
