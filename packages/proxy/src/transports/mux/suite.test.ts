import { createAuthority } from '@sallyport/plugin/testing';
import { transportSuite } from '../../core/transport-suite.fixture.ts';
import type { LayerOptions, Transport, Way } from '../../core/way.ts';
import { tcp } from '../tcp/index.ts';
import { tls } from '../tls/index.ts';
import { ws } from '../ws/index.ts';
import { createMux } from './index.ts';

const authority = createAuthority();
const serverTls = authority.issue({ names: ['127.0.0.1'] });
const clientTls = { ca: [authority.cert] };
const at = () => ({ host: '127.0.0.1', port: 0 });

const version1 = createMux({ version: 1 });
const version2 = createMux({ version: 2 });
const rows: readonly (readonly [string, readonly Transport[], Record<string, unknown>])[] = [
  ['mtcp', [version2], {}],
  ['mtcp of version 1', [version1], {}],
  ['mtcp with yamux', [version2], { muxType: 'yamux' }],
  ['mtls', [tls, version1], {}],
  ['mws', [ws, createMux({ version: 1, overWebSocket: true })], {}],
  ['mwss', [tls, ws, createMux({ version: 1, overWebSocket: true })], {}],
];

for (const [name, layers, metadata] of rows) {
  transportSuite(name, () => {
    const raw = tcp.wrap(undefined, { metadata });
    const over = (options: Omit<LayerOptions, 'metadata'>) =>
      layers.reduce<Way>((way, layer) => layer.wrap(way, { ...options, metadata }), raw);
    return { raw, listener: over({ serverTls }), dialer: over({ clientTls }), at };
  });
}
