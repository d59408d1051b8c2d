import { createAuthority } from '@sallyport/plugin/testing';
import { transportSuite } from '../../core/transport-suite.fixture.ts';
import type { Way } from '../../core/way.ts';
import { tcp } from '../tcp/index.ts';
import { tls } from '../tls/index.ts';
import { ws } from './index.ts';

const authority = createAuthority();
const identity = authority.issue({ names: ['127.0.0.1'] });
const at = () => ({ host: '127.0.0.1', port: 0 });
const base = tcp.wrap(undefined, { metadata: {} });

transportSuite('ws', () => {
  const way = ws.wrap(base, { metadata: {} });
  return { raw: base, listener: way, dialer: way, at };
});

transportSuite('ws with compression', () => {
  const way = ws.wrap(base, { metadata: { enableCompression: true } });
  return { raw: base, listener: way, dialer: way, at };
});

transportSuite('wss', () => ({
  raw: base,
  listener: ws.wrap(tls.wrap(base, { serverTls: identity, metadata: {} }), { metadata: {} }),
  dialer: ws.wrap(tls.wrap(base, { clientTls: { ca: [authority.cert] }, metadata: {} }), { metadata: {} }),
  at,
}));

/** The same connections without a socket to take away: what a layer meets behind a proxy of a chain. */
function withoutSockets(way: Way): Way {
  return {
    ...way,
    async dial(to, context) {
      const conn = await way.dial(to, context);
      Object.defineProperty(conn, 'detach', { value: () => undefined });
      return conn;
    },
    listen: (address, accept, problem) =>
      way.listen!(
        address,
        (end) => {
          Object.defineProperty(end, 'detach', { value: () => undefined });
          accept(end);
        },
        problem,
      ),
  };
}

transportSuite('ws over connections that are no sockets', () => {
  const way = ws.wrap(withoutSockets(base), { metadata: {} });
  return { raw: base, listener: way, dialer: way, at };
});

transportSuite('tls over connections that are no sockets', () => ({
  raw: base,
  listener: tls.wrap(withoutSockets(base), { serverTls: identity, metadata: {} }),
  dialer: tls.wrap(withoutSockets(base), { clientTls: { ca: [authority.cert] }, metadata: {} }),
  at,
}));
