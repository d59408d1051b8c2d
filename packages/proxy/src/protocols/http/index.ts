import type { Protocol } from '../../core/protocol.ts';
import { associateHttp, connectHttp } from './connect.ts';
import { handleHttp } from './handle.ts';
import { connectorFields, handlerFields } from './options.ts';

/** The HTTP proxy: CONNECT, plain HTTP/1, and datagrams as GOST carries them over HTTP. */
export const http: Protocol = {
  type: 'http',
  handler: { metadata: handlerFields, serves: 'stream', handle: handleHttp },
  connector: { metadata: connectorFields, connect: connectHttp, associate: associateHttp },
};
