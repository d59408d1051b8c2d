import { STATUS_CODES } from 'node:http';
import { isIPv6 } from 'node:net';
import type * as net from 'node:net';
import { PluginError } from '../errors.ts';
import type { RawHeaders } from './grpc.ts';
import type { HttpServedReply, HttpServedRequest } from './http.ts';
import { formatHead } from './http1/head.ts';
import type { Http1RequestHead } from './http1/head.ts';
import { Http1Error } from './http1/http1-error.ts';

/** A request as the handler sees it. Its signal is made when it is first asked for: few handlers do. */
export class ServedRequest implements HttpServedRequest {
  readonly verb: string;
  readonly path: string;
  readonly query: string;
  readonly headers: RawHeaders;
  readonly body: Buffer;
  readonly remote: string;
  #controller: AbortController | undefined;
  #isAborted = false;

  constructor(head: Http1RequestHead, body: Buffer, remote: string) {
    this.verb = head.method;
    const target = originForm(head.target);
    const mark = target.indexOf('?');
    this.path = mark < 0 ? target : target.slice(0, mark);
    this.query = mark < 0 ? '' : target.slice(mark + 1);
    const headers: string[] = [];
    for (let i = 0; i < head.headers.length; i += 2) {
      headers.push(head.headers[i]!.toLowerCase(), head.headers[i + 1]!);
    }
    this.headers = headers;
    this.body = body;
    this.remote = remote;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isAborted) this.#controller.abort(gone());
    return this.#controller.signal;
  }

  abort(): void {
    this.#isAborted = true;
    this.#controller?.abort(gone());
  }
}

function gone(): PluginError {
  return new PluginError('canceled', 'the caller has gone');
}

/** A server takes the absolute form, too (RFC 9112, section 3.2.2). */
function originForm(target: string): string {
  const absolute = /^https?:\/\/[^/?]*(.*)$/is.exec(target);
  if (absolute === null) return target;
  return absolute[1]!.startsWith('/') ? absolute[1]! : `/${absolute[1]}`;
}

/** Where a connection comes from: `ip:port`, or `unix`. */
export function formatRemote(socket: net.Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined) return 'unix';
  const address = remoteAddress.replace(/^::ffff:(?=\d+\.)/, '');
  return isIPv6(address) ? `[${address}]:${remotePort}` : `${address}:${remotePort}`;
}

/** A reply of the server itself, where the handler gives none. */
export function plainReply(status: number, message: string): HttpServedReply {
  return {
    status,
    headers: ['Content-Type', 'application/json'],
    body: `${JSON.stringify({ error: message })}\n`,
  };
}

let dateText = '';
let dateSecond = 0;

function httpDate(): string {
  const now = Date.now();
  const second = Math.floor(now / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(now).toUTCString();
  }
  return dateText;
}

/**
 * Writes a reply. `goesOn`: the connection carries another request after it. `head` is the request's; there is none where
 * it could not be read. Throws Http1Error for a header that cannot be sent.
 */
export function formatReply(
  reply: HttpServedReply,
  goesOn: boolean,
  head: Http1RequestHead | undefined,
): [text: string, encoding: 'latin1' | 'utf8'] {
  const { status, body } = reply;
  const bodyBytes = Buffer.byteLength(body);
  let line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nDate: ${httpDate()}\r\n`;
  if (status !== 204 && status !== 304) line += `Content-Length: ${bodyBytes}\r\n`;
  if (!goesOn) line += 'Connection: close\r\n';
  else if (head?.version === '1.0') line += 'Connection: keep-alive\r\n';
  // Its own start line is empty and cut off, so the fields follow ours.
  const text = line + formatHead('', reply.headers ?? []).slice(2);
  const hasBody = head?.method !== 'HEAD' && status !== 204 && status !== 304;
  if (!hasBody) return [text, 'latin1'];
  // A head that is not ASCII would be another text in UTF-8; there is no such thing in our replies.
  const isAscii = bodyBytes === body.length;
  if (!isAscii && /[^\0-\x7f]/.test(text))
    throw new Http1Error(500, 'a header holds a character that is not ASCII');
  return [text + body, isAscii ? 'latin1' : 'utf8'];
}
