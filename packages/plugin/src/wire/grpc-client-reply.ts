import { PluginError } from '../errors.ts';
import type { PluginErrorCode } from '../errors.ts';
import {
  decodeGrpcMessage,
  grpcStatusName,
  grpcStatusOfHttp,
  parseGrpcStatus,
  pluginErrorCodeOf,
} from './grpc-codes.ts';
import { grpcStatus } from './grpc.ts';
import type { RawHeaders } from './grpc.ts';
import { fieldValue } from './h2/fields.ts';

/** What a failed call says, besides where it went. */
export interface ReplyFailure {
  readonly code: PluginErrorCode;
  readonly message: string;
  readonly grpcStatus: number;
  readonly httpStatus?: number;
  readonly details?: Uint8Array;
}

/** What the first header section of an answer says. */
export interface ReplyHead {
  /** Without the pseudo-header fields. */
  readonly metadata: RawHeaders;
  /** Set when no message can follow: the HTTP status is not 200 or the content is not gRPC. */
  readonly failure: ReplyFailure | undefined;
  readonly encoding: string | undefined;
}

/** What the trailers, or a head that ends the stream, say. */
export interface ReplyEnd {
  readonly metadata: RawHeaders;
  /** Undefined: the status is OK. */
  readonly failure: ReplyFailure | undefined;
}

// The same answer is the same array (see HeaderReader), so what it says is found out once.
const heads = new WeakMap<RawHeaders, ReplyHead>();
const ends = new WeakMap<RawHeaders, ReplyEnd>();

/** Reads the first header section of an answer. */
export function readReplyHead(fields: RawHeaders): ReplyHead {
  let head = heads.get(fields);
  if (head === undefined) {
    head = {
      metadata: withoutPseudo(fields),
      failure: findHeadFailure(fields),
      encoding: fieldValue(fields, 'grpc-encoding'),
    };
    heads.set(fields, head);
  }
  return head;
}

/** Reads the section that ends an answer. `isHead`: it is also the first one (Trailers-Only). */
export function readReplyEnd(fields: RawHeaders, isHead: boolean): ReplyEnd {
  let end = ends.get(fields);
  if (end === undefined) {
    end = { metadata: withoutPseudo(fields), failure: findEndFailure(fields, isHead) };
    ends.set(fields, end);
  }
  return end;
}

function withoutPseudo(fields: RawHeaders): RawHeaders {
  let at = 0;
  while (at < fields.length && fields[at]!.startsWith(':')) at += 2;
  return at === 0 ? fields : fields.slice(at);
}

function findHeadFailure(fields: RawHeaders): ReplyFailure | undefined {
  const httpStatus = Number(fieldValue(fields, ':status'));
  if (httpStatus !== 200) return httpFailure(httpStatus);
  const contentType = fieldValue(fields, 'content-type') ?? '';
  const type = contentType.split(';', 1)[0]!.trim().toLowerCase();
  if (type === 'application/grpc' || type === 'application/grpc+proto') return undefined;
  const isGrpc = type.startsWith('application/grpc+');
  return {
    code: 'badReply',
    message: isGrpc
      ? `the answer is gRPC with another message format: content-type ${quote(contentType)}`
      : `the answer is not gRPC: its content-type is ${quote(contentType)}; if the plugin speaks HTTP, set type: http`,
    grpcStatus: isGrpc ? grpcStatus.internal : grpcStatus.unknown,
    httpStatus,
  };
}

function httpFailure(status: number): ReplyFailure {
  const mapped = grpcStatusOfHttp(status);
  let code: PluginErrorCode = pluginErrorCodeOf(mapped);
  if (status === 429) code = 'overloaded';
  else if (status < 400) code = 'badReply';
  return {
    code,
    message: `the server answered with HTTP status ${status}`,
    grpcStatus: mapped,
    httpStatus: status,
  };
}

function findEndFailure(fields: RawHeaders, isHead: boolean): ReplyFailure | undefined {
  const value = fieldValue(fields, 'grpc-status');
  const status = value === undefined ? undefined : parseGrpcStatus(value);
  if (isHead) {
    // A gateway's error page has no grpc-status; a server's own refusal has one, whatever its HTTP status.
    const failure = findHeadFailure(fields);
    if (failure !== undefined && (status === undefined || status === 0)) return failure;
  }
  if (status === undefined) {
    const what = value === undefined ? 'has no grpc-status' : `has the grpc-status ${quote(value)}`;
    return { code: 'badReply', message: `the answer ${what}`, grpcStatus: grpcStatus.unknown };
  }
  if (hasAnother(fields, 'grpc-status', value!)) {
    // Which of them is meant would be a guess.
    return { code: 'badReply', message: 'the answer has two statuses', grpcStatus: grpcStatus.unknown };
  }
  if (status === 0) return undefined;
  const text = decodeGrpcMessage(fieldValue(fields, 'grpc-message') ?? '');
  const details = fieldValue(fields, 'grpc-status-details-bin');
  return {
    code: pluginErrorCodeOf(status),
    message: `the plugin answered ${grpcStatusName(status)}${text === '' ? '' : `: ${text}`}`,
    grpcStatus: status,
    details: details === undefined ? undefined : Buffer.from(details, 'base64'),
  };
}

function hasAnother(fields: RawHeaders, name: string, value: string): boolean {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name && fields[i + 1] !== value) return true;
  return false;
}

function quote(value: string): string {
  return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value);
}

/** Makes the error that a call rejects with. */
export function replyError(
  failure: ReplyFailure,
  endpoint: string,
  headers: RawHeaders | undefined,
  trailers: RawHeaders | undefined,
): PluginError {
  return new PluginError(failure.code, failure.message, { ...failure, endpoint, headers, trailers });
}
