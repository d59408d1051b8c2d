import { encodeGrpcMessage, findMetadataError, parseGrpcTimeout } from './grpc-codes.ts';
import { GrpcStatus, grpcStatus } from './grpc.ts';
import type { RawHeaders } from './grpc.ts';
import { fieldValue } from './h2/fields.ts';
import type { HttpServedReply } from './http.ts';

/** What a request's headers say. */
export interface RequestHead {
  readonly verb: string;
  readonly path: string;
  readonly isGrpc: boolean;
  /** Without the pseudo-header fields; `host` is there also where the client only sent `:authority`. */
  readonly metadata: RawHeaders;
  readonly contentType: string;
  readonly timeoutMs: number | undefined;
  readonly encoding: string;
  /** The request is gzip-compressed and the client takes the same for the answer. */
  readonly repliesGzip: boolean;
  /** Why a gRPC request cannot be served, whatever its message. */
  readonly problem: GrpcStatus | undefined;
}

// Calls of one client mostly have the same headers, and then the same array (see HeaderReader).
const heads = new WeakMap<RawHeaders, RequestHead>();

/** Reads a request's headers. */
export function readRequestHead(fields: RawHeaders): RequestHead {
  let head = heads.get(fields);
  if (head === undefined) {
    head = readHead(fields);
    heads.set(fields, head);
  }
  return head;
}

function readHead(fields: RawHeaders): RequestHead {
  let at = 0;
  while (at < fields.length && fields[at]!.startsWith(':')) at += 2;
  const rest = fields.slice(at);
  const authority = fieldValue(fields, ':authority');
  if (authority !== undefined && fieldValue(rest, 'host') === undefined) rest.push('host', authority);
  const verb = fieldValue(fields, ':method') ?? '';
  const contentType = fieldValue(rest, 'content-type') ?? '';
  const type = contentType.split(';', 1)[0]!.trim().toLowerCase();
  const isGrpc = type === 'application/grpc' || type.startsWith('application/grpc+');
  const timeout = fieldValue(rest, 'grpc-timeout');
  const timeoutMs = timeout === undefined ? undefined : parseGrpcTimeout(timeout);
  const encoding = fieldValue(rest, 'grpc-encoding') ?? 'identity';
  const accepted = (fieldValue(rest, 'grpc-accept-encoding') ?? '').split(',').map((name) => name.trim());
  let problem: GrpcStatus | undefined;
  if (isGrpc) {
    if (verb !== 'POST') problem = new GrpcStatus(grpcStatus.unimplemented, 'gRPC calls are POST requests');
    else if (type !== 'application/grpc' && type !== 'application/grpc+proto') {
      problem = new GrpcStatus(grpcStatus.unimplemented, 'only protobuf messages are understood');
    } else if (encoding !== 'identity' && encoding !== 'gzip') {
      problem = new GrpcStatus(
        grpcStatus.unimplemented,
        'only gzip and identity are understood as grpc-encoding',
        {
          trailers: ['grpc-accept-encoding', 'gzip'],
        },
      );
    } else if (timeout !== undefined && timeoutMs === undefined) {
      problem = new GrpcStatus(grpcStatus.internal, 'grpc-timeout is no timeout');
    }
  }
  return {
    verb,
    path: fieldValue(fields, ':path') ?? '',
    isGrpc,
    metadata: rest,
    contentType: type === 'application/grpc+proto' ? type : 'application/grpc',
    timeoutMs,
    encoding,
    repliesGzip: encoding === 'gzip' && accepted.includes('gzip'),
    problem,
  };
}

const okTrailers: RawHeaders = ['grpc-status', '0'];
const okHeaders = new Map<string, RawHeaders>();

/** The header and trailer sections of an answer. Throws an Error for metadata that cannot be sent. */
export function okSections(
  head: RequestHead,
  headers: RawHeaders = [],
  trailers: RawHeaders = [],
): { headers: RawHeaders; trailers: RawHeaders } {
  const own = ownHeaders(head.contentType, head.repliesGzip);
  return {
    headers: headers.length === 0 ? own : [...own, ...checked(headers)],
    trailers: trailers.length === 0 ? okTrailers : [...okTrailers, ...checked(trailers)],
  };
}

function ownHeaders(contentType: string, isGzip: boolean): RawHeaders {
  const key = isGzip ? `${contentType} gzip` : contentType;
  let fields = okHeaders.get(key);
  if (fields === undefined) {
    fields = [':status', '200', 'content-type', contentType, ...(isGzip ? ['grpc-encoding', 'gzip'] : [])];
    okHeaders.set(key, fields);
  }
  return fields;
}

function checked(metadata: RawHeaders): RawHeaders {
  const problem = findMetadataError(metadata);
  if (problem !== undefined) throw new Error(`the metadata of an answer cannot be sent: ${problem}`);
  return metadata;
}

/** The sections of a failed call: only trailers, unless the status has headers of its own. */
export function errorSections(
  head: RequestHead,
  status: GrpcStatus,
): { headers: RawHeaders | undefined; trailers: RawHeaders } {
  const own = [':status', '200', 'content-type', head.contentType];
  const end = ['grpc-status', String(status.status)];
  if (status.message !== '') end.push('grpc-message', encodeGrpcMessage(status.message));
  if (status.details !== undefined) {
    end.push('grpc-status-details-bin', Buffer.from(status.details).toString('base64').replace(/=+$/, ''));
  }
  // Metadata that cannot be sent must not hide the status itself.
  const trailers = findMetadataError(status.trailers) === undefined ? status.trailers : [];
  const headers = findMetadataError(status.headers) === undefined ? status.headers : [];
  end.push(...trailers);
  if (headers.length === 0) return { headers: undefined, trailers: [...own, ...end] };
  return { headers: [...own, ...headers], trailers: end };
}

/**
 * The header section of an HTTP answer. Fields that cannot be sent, or belong to HTTP/1, are left out. Throws a RangeError
 * for a status that is none.
 */
export function httpReplyFields(reply: HttpServedReply, bodyBytes: number): RawHeaders {
  if (!Number.isInteger(reply.status) || reply.status < 200 || reply.status > 599) {
    throw new RangeError(`${reply.status} is no final HTTP status`);
  }
  const fields = [':status', String(reply.status)];
  const headers = reply.headers ?? [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase();
    const value = headers[i + 1]!;
    if (http1Only.has(name) || findMetadataError([name, value]) !== undefined) continue;
    fields.push(name, value);
  }
  if (reply.status !== 204 && reply.status !== 304) fields.push('content-length', String(bodyBytes));
  return fields;
}

const http1Only = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'content-length']);
