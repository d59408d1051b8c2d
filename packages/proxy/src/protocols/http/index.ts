import type { Protocol } from '../../core/protocol.ts';
import { handleHttp } from './handle.ts';

/** The HTTP proxy: CONNECT and plain HTTP/1. */
export const http: Protocol = { type: 'http', handle: handleHttp };
