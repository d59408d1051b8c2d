import { formatHead, headerTokens, Http1Error } from '@sallyport/plugin/wire';
import type { BodyFraming, Http1ResponseHead } from '@sallyport/plugin/wire';
import { ProxyError } from '../errors.ts';
import type { BodyRewrite } from './rewrite-body.ts';
import { dropField, forwardable } from './fields.ts';
import type { HttpRequest } from './request.ts';

/** A request as it goes on, and how its answer comes back. */
export interface Outgoing {
  /** The target of the request line. */
  readonly target: string;
  /** Empty: a request of HTTP/1.0 that named none. */
  readonly host: string;
  /** Changes the fields that go on. */
  editRequest?(fields: string[]): void;
  /** Changes the fields of the answer that go on. */
  editAnswer?(fields: string[]): void;
  readonly rewriteRequest?: BodyRewrite | undefined;
  rewriteAnswer?(answer: Http1ResponseHead): BodyRewrite | undefined;
  /** Told the status of the answer. True: it is a failure, and the client's connection carries no further request. */
  failed?(status: number): boolean;
  /** True where the request is meant for another proxy, so that what it says to one is for that. */
  readonly isForProxy?: boolean;
  /** True: the origin is told that nothing follows. */
  readonly closes?: boolean;
}

/** What the head of a request says of what follows it. */
export interface RequestBody {
  readonly framing: BodyFraming;
  /** The protocols that it may change to. */
  readonly upgrade: string | undefined;
  /** True where we have begun to read it. */
  readonly isHeld: boolean;
}

/** The head of a request as it goes on. Throws ProxyError where it holds what cannot be sent. */
export function encodeRequest(
  { head }: HttpRequest,
  outgoing: Outgoing,
  { framing, upgrade, isHeld }: RequestBody,
): Buffer {
  const { target, host, isForProxy = false, closes = false } = outgoing;
  const fields = forwardable(head.headers, { keepsProxyFields: isForProxy });
  // RFC 9110, section 10.1.1: from a client of HTTP/1.0 it means nothing, and to the origin we speak 1.1.
  if (head.version === '1.0') dropField(fields, 'expect');
  // The body is here already.
  if (isHeld) dropField(fields, 'expect');
  outgoing.editRequest?.(fields);
  if (host !== '' || head.version === '1.1') fields.unshift('Host', host);
  if (framing.kind === 'length') fields.push('Content-Length', String(framing.length));
  if (framing.kind === 'chunked') fields.push('Transfer-Encoding', 'chunked');
  const connection: string[] = [];
  if (headerTokens(head.headers, 'te').includes('trailers')) {
    fields.push('TE', 'trailers');
    connection.push('TE');
  }
  if (upgrade !== undefined) {
    fields.push('Upgrade', upgrade);
    connection.push('Upgrade');
  } else if (closes) connection.push('close');
  if (connection.length > 0) fields.push('Connection', connection.join(', '));
  // Without a Host 1.1 would be wrong.
  const version = host === '' && head.version === '1.0' ? '1.0' : '1.1';
  try {
    return Buffer.from(formatHead(`${head.method} ${target} HTTP/${version}`, fields), 'latin1');
  } catch (cause) {
    if (!(cause instanceof Http1Error)) throw cause;
    throw new ProxyError('internal', 'self', `the request cannot be sent on: ${cause.message}`, { cause });
  }
}
