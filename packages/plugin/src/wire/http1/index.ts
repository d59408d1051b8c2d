/** HTTP/1 as bytes, without sockets: heads and bodies read strictly, and written. One codec for the whole product. */
export { Http1BodyReader, formatChunkLine } from './body-reader.ts';
export { bodyFraming } from './framing.ts';
export type { BodyFraming } from './framing.ts';
export { formatHead, headerTokens, headerValue, headerValues, isToken, keepsAlive } from './head.ts';
export type { Http1RequestHead, Http1ResponseHead } from './head.ts';
export { Http1HeadReader } from './head-reader.ts';
export type { Http1HeadLimits, Http1HeadOf } from './head-reader.ts';
export { Http1Error } from './http1-error.ts';
export type { Http1Side } from './http1-error.ts';
