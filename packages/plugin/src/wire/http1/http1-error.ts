/**
 * What is wrong with a message of HTTP/1. `status` is what a server or proxy says to its client about it: 400, 414, 431
 * or 505 for a request, 502 for a response, 500 for a head of our own that cannot be written. After this error the
 * connection's framing is lost: whoever catches it closes the connection and reads nothing more.
 */
export class Http1Error extends Error {
  override readonly name = 'Http1Error';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Which of the two messages is read: it decides the start line, and the status of errors (see {@link Http1Error}). */
export type Http1Side = 'request' | 'response';

/** The error for a message that breaks the protocol, seen from a server or proxy. */
export function malformed(side: Http1Side, message: string): Http1Error {
  return new Http1Error(side === 'request' ? 400 : 502, message);
}
