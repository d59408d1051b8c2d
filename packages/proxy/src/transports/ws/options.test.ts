import { describe, expect, test } from 'vitest';
import { parseTree } from '../../schema/parse.ts';
import { mapping } from '../../schema/read.ts';
import type { Fields } from '../../schema/read.ts';
import { createReport, formatFindings } from '../../schema/report.ts';
import { createSource } from '../../schema/source.ts';
import { tcpFields } from '../tcp/options.ts';
import { tlsDialerFields } from '../tls/options.ts';
import { wsDialerFields, wsListenerFields } from './options.ts';

function read(fields: Fields, yaml: string) {
  const report = createReport();
  const tree = parseTree(createSource('w.yml', yaml), report);
  const metadata: Record<string, unknown> | undefined =
    tree && mapping(fields)(tree, '', { report, lenient: false });
  return { metadata, errors: formatFindings(report.errors) };
}

describe('the metadata of a WebSocket', () => {
  test('is read under each of its names', () => {
    const { metadata, errors } = read(
      wsListenerFields,
      'ws.path: /x\nHeader: {X-A: b}\nhandshaketimeout: 3\nenableCompression: true\nbacklog: 5\ntrustedProxies: "10.0.0.0/8, ::1"\nreadBufferSize: 1\n',
    );
    expect(errors).toEqual([]);
    expect(metadata).toMatchObject({
      requestPath: '/x',
      header: [['X-A', 'b']],
      handshakeTimeoutMs: 3000,
      enableCompression: true,
      backlog: 5,
      trustedProxies: ['10.0.0.0/8', '::1'],
    });
  });

  test('of a stack is shared among its layers as in GOST', () => {
    const { metadata, errors } = read(
      { ...tcpFields, ...tlsDialerFields, ...wsDialerFields },
      'keepalive: true\nttl: 7s\ntcp.keepalive: false\ntcp.keepalive.idle: 30s\nhandshakeTimeout: 2s\nhost: front.test:444\n',
    );
    expect(errors).toEqual([]);
    expect(metadata).toMatchObject({
      ping: true,
      pingMs: 7000,
      tcpKeepAlive: false,
      tcpKeepAliveIdleMs: 30_000,
      handshakeTimeoutMs: 2000,
      host: 'front.test:444',
    });
  });

  test('that would break the request is an error at its place, without the value', () => {
    for (const [yaml, message] of [
      ['header: {"X A": secret}', /is no header that can be sent/],
      ['header: {X-A: "a\\nb: secret"}', /is no header that can be sent/],
      ['header: {Upgrade: h2c}', /belongs to the WebSocket handshake/],
      ['header: {sec-websocket-key: secret}', /belongs to the WebSocket handshake/],
      ['header: [secret]', /expected a mapping of header names/],
      ['path: ws', /begins with a slash/],
      ['path: "/a b"', /begins with a slash/],
      ['path: "/a#b"', /begins with a slash/],
    ] as const) {
      const { errors } = read(wsListenerFields, yaml);
      expect(errors).toEqual([expect.stringMatching(message)]);
      expect(errors[0]).not.toContain('secret');
    }
    expect(read(wsListenerFields, 'trustedProxies: [10.0.0.0/33]').errors).toEqual([
      expect.stringMatching(/expected IP addresses or networks/),
    ]);
    expect(read(wsDialerFields, 'host: "http://x"').errors).toEqual([
      expect.stringMatching(/expected a host/),
    ]);
    expect(read(wsDialerFields, 'host: "[::1]:80"').errors).toEqual([]);
  });
});
