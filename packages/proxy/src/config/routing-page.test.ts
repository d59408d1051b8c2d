import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { parseAuthority } from '../core/address.ts';
import { requestAuthority } from '../core/http/authority.ts';
import type { Decider, RouteRequest } from '../core/route.ts';
import { formatFindings, createReport } from '../schema/report.ts';
import { hopOf } from './build/nodes.ts';
import { createPolicies } from './build/policies.ts';
import { loadText } from './load.ts';
import { readTlsFiles } from './tls-files.ts';

const page = readFileSync(new URL('../../../../docs/routing.md', import.meta.url), 'utf8');

const decider: Decider = { decide: async ({ ask }) => ask({ meta: {} }) };

/** `host:port`, `tls host:port`, or a request of HTTP: `[METHOD] http://… [Field: value]`. */
function requestOf(client: string, written: string): RouteRequest {
  const common = {
    network: 'tcp',
    client: { host: client, port: 40_000 },
    user: '',
    service: 'front',
  } as const;
  const http = /^(?:([A-Z]+) )?(http:\S+)(?: ([\w-]+): (\S+))?$/.exec(written);
  if (http !== null) {
    const headers = http[3] === undefined ? [] : [http[3], http[4]!];
    const head = { method: http[1] ?? 'GET', target: http[2]!, version: '1.1', headers } as const;
    const { seen, target } = requestAuthority(head);
    return { ...common, target, host: target, seen };
  }
  const tls = written.startsWith('tls ');
  const target = parseAuthority(tls ? written.slice(4) : written);
  const seen = { protocol: 'tls', host: target.host, authority: written.slice(4), path: '' } as const;
  return { ...common, target, host: target, ...(tls && { seen }) };
}

/** Every example of the page, with what stands in the table below it. */
const examples = [...page.matchAll(/```yaml\n([^]*?)```\n+((?:\|.*\n)+)/g)].map(([, yaml, table]) => {
  const rows = table!.trim().split('\n').slice(2);
  return { yaml: yaml!, rows: rows.map((row) => row.split('|').map((cell) => cell.trim())) };
});

describe('docs/routing.md', () => {
  test('has as many examples as tables of requests', () => {
    expect(examples).toHaveLength(page.match(/```yaml/g)!.length);
    expect(examples.flatMap(({ rows }) => rows).length).toBeGreaterThan(15);
  });

  for (const { yaml, rows } of examples) {
    const line = page.slice(0, page.indexOf(yaml)).split('\n').length;
    test(`line ${String(line)}: goes through the nodes that it says`, async () => {
      const { config, report } = loadText('file', yaml);
      expect(formatFindings([...report.errors, ...report.warnings])).toEqual([]);
      const log = pino({ level: 'silent' });
      const policies = await createPolicies({
        ...{ config: config!, log, tls: readTlsFiles(config!, createReport()) },
        dialThrough: () => () => Promise.reject(new Error('nobody dials here')),
      });
      try {
        for (const [, client, request, expected] of rows) {
          const hop = hopOf(config!.chains[0]!.hops![0]!, { policies, clientTls: () => ({}) }, 'first');
          const found = await hop.select(requestOf(client!, request!), decider).then(
            (selected) => (selected.kind === 'node' ? selected.node.spec.name : 'direct'),
            (error: { code: string }) => (error.code === 'noRoute' ? 'none' : error.code),
          );
          expect([request, found]).toEqual([request, expected]);
        }
      } finally {
        await policies.close();
      }
    });
  }
});
