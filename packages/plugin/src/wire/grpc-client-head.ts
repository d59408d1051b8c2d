import { findMetadataError, formatGrpcTimeout } from './grpc-codes.ts';
import type { GrpcRequest, RawHeaders } from './grpc.ts';

const rememberedHeads = 256;

interface RequestHead {
  readonly metadata: RawHeaders | undefined;
  readonly timeoutMs: number | undefined;
  readonly gzip: boolean;
  readonly headers: RawHeaders;
}

/**
 * Makes the header lists of requests. Calls that differ only in their message get the same array, which a connection then
 * need not encode again.
 */
export class RequestHeads {
  readonly #own: RawHeaders;
  readonly #before: RawHeaders;
  readonly #heads = new Map<string, RequestHead>();

  /** Throws a TypeError for an authority or user agent that cannot be sent. */
  constructor(scheme: 'http' | 'https', authority: string, userAgent: string) {
    for (const text of [authority, userAgent]) {
      if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text)) {
        throw new TypeError(`${JSON.stringify(text)} cannot be sent as a header`);
      }
    }
    this.#before = [':method', 'POST', ':scheme', scheme, ':authority', authority, ':path'];
    this.#own = [
      'te',
      'trailers',
      'content-type',
      'application/grpc',
      'user-agent',
      userAgent,
      'grpc-accept-encoding',
      'gzip',
    ];
  }

  /** The headers of a call that has `timeoutMs` left. Throws an Error for a path or metadata that cannot be sent. */
  of(request: GrpcRequest, timeoutMs: number | undefined): RawHeaders {
    const { path, metadata, gzip = false } = request;
    const known = this.#heads.get(path);
    if (
      known !== undefined &&
      known.timeoutMs === timeoutMs &&
      known.gzip === gzip &&
      isSameList(known.metadata, metadata)
    ) {
      return known.headers;
    }
    if (!/^\/[\x21-\x7e]*$/.test(path))
      throw new Error(`the path ${JSON.stringify(path)} is no gRPC method's`);
    const problem = metadata === undefined ? undefined : findMetadataError(metadata);
    if (problem !== undefined) throw new Error(`the call's metadata cannot be sent: ${problem}`);
    const headers = [...this.#before, path, ...this.#own];
    if (gzip) headers.push('grpc-encoding', 'gzip');
    if (timeoutMs !== undefined) headers.push('grpc-timeout', formatGrpcTimeout(timeoutMs));
    if (metadata !== undefined) headers.push(...metadata);
    if (this.#heads.size >= rememberedHeads) this.#heads.clear();
    this.#heads.set(path, { metadata, timeoutMs, gzip, headers });
    return headers;
  }
}

function isSameList(a: RawHeaders | undefined, b: RawHeaders | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
