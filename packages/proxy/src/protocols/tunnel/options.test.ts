import { describe, expect, test } from 'vitest';
import { parseTree } from '../../schema/parse.ts';
import { mapping } from '../../schema/read.ts';
import { createReport, formatFindings } from '../../schema/report.ts';
import { createSource } from '../../schema/source.ts';
import { settingsOf } from './bind.ts';
import { tunnelId } from './client.fixture.ts';
import { connectorFields } from './options.ts';

function read(yaml: string) {
  const report = createReport();
  const tree = parseTree(createSource('t.yml', yaml), report);
  const metadata = tree && mapping(connectorFields)(tree, '', { report, lenient: false });
  return { metadata, errors: formatFindings(report.errors) };
}

describe('the metadata of a connector', () => {
  test.each([
    `tunnel.id: ${tunnelId}`,
    `tunnelID: ${tunnelId.toUpperCase()}`,
    `tunnelid: ${tunnelId.replaceAll('-', '')}`,
    `tunnel.id: '{${tunnelId}}'`,
    `tunnel.id: urn:uuid:${tunnelId}`,
  ])('names a tunnel: %s', (yaml) => {
    const { metadata, errors } = read(yaml);
    expect(errors).toEqual([]);
    expect(metadata?.tunnelId).toBe(tunnelId);
  });

  test('says how the tunnel is carried', () => {
    const { metadata, errors } = read(
      'tunnel.weight: 255\nrecord.mode: headers\nconnectTimeout: 3s\nmux.version: 1\nmux.maxStreamBuffer: 65536\nmux.keepaliveInterval: 5s\n',
    );
    expect(errors).toEqual([]);
    expect(metadata).toMatchObject({ tunnelWeight: 255, recordMode: 'headers', connectTimeoutMs: 3000 });
    expect(settingsOf(metadata!)).toMatchObject({ version: 1, maxStreamBytes: 65_536, keepAliveMs: 5000 });
    expect(settingsOf({})).toMatchObject({ version: 2, maxStreamBytes: 1024 * 1024 });
    expect(settingsOf({ muxMaxStreamBytes: 0 })).toMatchObject({ maxStreamBytes: 1024 * 1024 });
  });

  test.each([
    ['tunnel.id: my-tunnel', 'expected a UUID such as `4d21094e'],
    [`tunnel.id: $${tunnelId}`, 'the mark `$` belongs to the rule of an ingress'],
    ['tunnel.id: 00000000-0000-0000-0000-000000000000', 'names no tunnel'],
    ['tunnel.id: [a]', 'expected a UUID'],
    [`tunnel.id: ${tunnelId}\ntunnelID: ${tunnelId}`, 'another name of a key that is given'],
    ['tunnel.weight: 256', 'a whole number from 0 to 255'],
    ['tunnel.weight: -1', 'a whole number from 0 to 255'],
    ["record.mode: ' '", 'is empty'],
    ['tunnel.idd: x', 'unknown key'],
  ])('may not say %s', (yaml, message) => {
    const { errors } = read(yaml);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(message);
    expect(errors[0]).toMatch(/^t\.yml:[12]:\d+/);
  });
});
