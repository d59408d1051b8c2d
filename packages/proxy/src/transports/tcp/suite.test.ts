import { transportSuite } from '../../core/transport-suite.fixture.ts';
import { tcp } from './index.ts';

transportSuite('tcp', () => {
  const way = tcp.wrap(undefined, { metadata: {} });
  return { listener: way, dialer: way, at: () => ({ host: '127.0.0.1', port: 0 }) };
});
