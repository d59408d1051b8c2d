import { createAuthority } from '@sallyport/plugin/testing';
import { transportSuite } from '../../core/transport-suite.fixture.ts';
import type { Way } from '../../core/way.ts';
import { tcp } from '../tcp/index.ts';
import { tls } from './index.ts';

const authority = createAuthority();
const identity = authority.issue({ names: ['127.0.0.1'] });
const at = () => ({ host: '127.0.0.1', port: 0 });

function overWay(raw: Way, under: Way) {
  return {
    raw,
    listener: tls.wrap(under, { serverTls: identity, metadata: {} }),
    dialer: tls.wrap(under, { clientTls: { ca: [authority.cert] }, metadata: {} }),
    at,
  };
}

transportSuite('tls', () => {
  const under = tcp.wrap(undefined, { metadata: {} });
  return overWay(under, under);
});
