import { headerValues } from './head.ts';
import type { Http1RequestHead, Http1ResponseHead } from './head.ts';
import { malformed } from './http1-error.ts';
import type { Http1Side } from './http1-error.ts';

/**
 * Where a message's body ends. `none`: there is no body. `length`: after this many bytes (0 is possible). `chunked`:
 * after the last chunk and the trailers. `untilClose`: when the peer half-closes, so that whether it is whole cannot
 * be known.
 */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'untilClose' };

const noBody: BodyFraming = { kind: 'none' };
const chunkedBody: BodyFraming = { kind: 'chunked' };
const untilCloseBody: BodyFraming = { kind: 'untilClose' };

/**
 * Says where the body ends (RFC 9112, section 6.3), for a request, or for a response to a request of `method`.
 *
 * Throws Http1Error (400, or 502 for a response) where two readers could disagree: Content-Length beside
 * Transfer-Encoding, Content-Lengths that differ or are no plain number, Transfer-Encoding in HTTP/1.0 or other than
 * `chunked` alone, CONNECT with a body. Equal Content-Lengths count as one: who forwards the message writes one.
 *
 * After a 2xx to CONNECT and after 101 the bytes are another protocol's; the framing is `none` then, as it is for the
 * other 1xx, for 204 and 304, and for any response to HEAD.
 */
export function bodyFraming(head: Http1RequestHead): BodyFraming;
export function bodyFraming(head: Http1ResponseHead, method: string): BodyFraming;
export function bodyFraming(head: Http1RequestHead | Http1ResponseHead, method?: string): BodyFraming {
  if (!('status' in head)) {
    const declared = declaredFraming(head, 'request');
    if (head.method === 'CONNECT' && declared !== undefined && !isEmpty(declared)) {
      throw malformed('request', 'a CONNECT request has no body');
    }
    return head.method === 'CONNECT' ? noBody : (declared ?? noBody);
  }
  const { status } = head;
  // Section 6.3: a client ignores both fields in a successful answer to CONNECT.
  if (method === 'CONNECT' && status >= 200 && status < 300) return noBody;
  const declared = declaredFraming(head, 'response');
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return noBody;
  return declared ?? untilCloseBody;
}

function isEmpty(framing: BodyFraming): boolean {
  return framing.kind === 'length' && framing.length === 0;
}

function declaredFraming(
  head: Http1RequestHead | Http1ResponseHead,
  side: Http1Side,
): BodyFraming | undefined {
  const { headers } = head;
  const lengths = headerValues(headers, 'content-length');
  const codings = headerValues(headers, 'transfer-encoding');
  if (codings.length > 0) {
    if (lengths.length > 0)
      throw malformed(side, 'Content-Length and Transfer-Encoding contradict each other');
    if (head.version === '1.0') throw malformed(side, 'HTTP/1.0 has no Transfer-Encoding');
    if (codings.length > 1 || codings[0]!.toLowerCase() !== 'chunked') {
      throw malformed(
        side,
        `Transfer-Encoding is not "chunked" alone: ${JSON.stringify(codings.join(', '))}`,
      );
    }
    return chunkedBody;
  }
  if (lengths.length === 0) return undefined;
  return { kind: 'length', length: parseLength(lengths, side) };
}

function parseLength(values: readonly string[], side: Http1Side): number {
  const first = values[0]!;
  // Fifteen digits are below 2^53, and a petabyte is more than anybody sends.
  if (/^\d{1,15}$/.test(first) && values.every((value) => value === first)) return Number(first);
  // RFC 9110, section 8.6: equal values may have been joined into one line.
  const parts = values
    .flatMap((value) => value.split(','))
    .map((part) => part.replace(/^[ \t]+|[ \t]+$/g, ''));
  if (!/^\d{1,15}$/.test(parts[0]!)) {
    throw malformed(side, `Content-Length is not a length: ${JSON.stringify(values.join(', '))}`);
  }
  if (parts.some((part) => part !== parts[0])) throw malformed(side, 'the Content-Lengths differ');
  return Number(parts[0]);
}
