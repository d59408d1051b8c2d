import type { Endpoint } from './endpoint.ts';
import type { RawHeaders } from './grpc.ts';
import type { HttpRequest } from './http.ts';
import { formatHead, isToken } from './http1/head.ts';
import { Http1Error } from './http1/http1-error.ts';

/** A request as it goes to the socket. */
export interface WrittenRequest {
  /** Head and body. */
  text: string;
  /** `utf8` where the body needs it, else `latin1`, which is written faster. */
  encoding: 'latin1' | 'utf8';
  bytesSent: number;
}

/**
 * Writes the requests to one endpoint. All calls of a plugin have the same headers and most of them the same path, so
 * what was written last is kept, and used for as long as the same is asked for.
 */
export class RequestWriter {
  readonly #ownHeaders: RawHeaders;
  #headers: RawHeaders = [];
  #fields = '';
  #verb = '';
  #path = '';
  #startLine = '';

  constructor(endpoint: Endpoint) {
    this.#ownHeaders = ['Host', endpoint.authority, 'Accept-Encoding', 'gzip'];
    this.#formatFields([]);
  }

  /** Fills `written`. Throws Http1Error for a verb, path or header that no HTTP/1.1 request can have. */
  write(request: HttpRequest, written: WrittenRequest): void {
    if (request.verb !== this.#verb || request.path !== this.#path)
      this.#formatStartLine(request.verb, request.path);
    if (!isSame(request.headers, this.#headers)) this.#formatFields(request.headers);
    const { body } = request;
    if (body === undefined) {
      written.text = `${this.#startLine}${this.#fields}\r\n`;
      written.encoding = 'latin1';
      written.bytesSent = written.text.length;
      return;
    }
    const bodyBytes = Buffer.byteLength(body);
    const head = `${this.#startLine}${this.#fields}Content-Length: ${bodyBytes}\r\n\r\n`;
    written.text = head + body;
    // As many bytes as characters: all of them are ASCII.
    written.encoding = bodyBytes === body.length ? 'latin1' : 'utf8';
    written.bytesSent = head.length + bodyBytes;
  }

  #formatStartLine(verb: string, path: string): void {
    if (!isToken(verb)) throw new Http1Error(500, `${JSON.stringify(verb)} is no method`);
    if (!/^[\x21-\x7e]+$/.test(path)) {
      throw new Http1Error(
        500,
        `${JSON.stringify(path)} is no path: it is empty, or holds what must be percent-encoded`,
      );
    }
    this.#verb = verb;
    this.#path = path;
    this.#startLine = `${verb} ${path} HTTP/1.1\r\n`;
  }

  #formatFields(headers: RawHeaders): void {
    // The start line and the empty line are cut off again.
    const fields = formatHead('', [...this.#ownHeaders, ...headers]).slice(2, -2);
    // Head and body leave as one text in one encoding, and only ASCII is the same in both.
    if (!/^[\t\r\n\x20-\x7e]*$/.test(fields))
      throw new Http1Error(500, 'a header holds a character that is not ASCII');
    this.#headers = [...headers];
    this.#fields = fields;
  }
}

function isSame(a: RawHeaders, b: RawHeaders): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return false;
  }
  return true;
}
