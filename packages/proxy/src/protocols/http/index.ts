import type { Protocol } from '../../core/protocol.ts';
import { handleHttp } from './handle.ts';
import { handlerFields } from './options.ts';

/** The HTTP proxy: CONNECT and plain HTTP/1. */
export const http: Protocol = {
  type: 'http',
  handler: { metadata: handlerFields, serves: 'stream', handle: handleHttp },
};
