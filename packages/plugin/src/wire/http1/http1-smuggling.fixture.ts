/**
 * Requests that two readers could understand differently, and that must therefore be refused, each on a connection of
 * its own. `bytes` is latin1. Whoever answers them sends `status` and closes; nothing after the refused head (or the
 * refused piece of body) may be taken for another request. `where` says which part a reader stumbles over.
 */
export interface SmugglingAttempt {
  readonly name: string;
  readonly bytes: string;
  readonly status: 400 | 414 | 431 | 505;
  readonly where: 'head' | 'framing' | 'body';
}

const host = 'Host: origin.test';
const hidden = 'GET http://origin.test/hidden HTTP/1.1\r\nHost: origin.test\r\n\r\n';

function withLine(line: string, ...more: string[]): string {
  return ['POST http://origin.test/ HTTP/1.1', host, line, ...more, '', ''].join('\r\n');
}

function chunked(body: string): string {
  return `${withLine('Transfer-Encoding: chunked')}${body}`;
}

const head = (name: string, bytes: string, status: SmugglingAttempt['status'] = 400): SmugglingAttempt => ({
  name,
  bytes,
  status,
  where: 'head',
});
const framing = (name: string, bytes: string): SmugglingAttempt => ({
  name,
  bytes,
  status: 400,
  where: 'framing',
});
const body = (name: string, bytes: string): SmugglingAttempt => ({ name, bytes, status: 400, where: 'body' });

/** The corpus. */
export const smugglingAttempts: readonly SmugglingAttempt[] = [
  framing(
    'Content-Length before Transfer-Encoding (CL.TE)',
    `${withLine('Content-Length: 6', 'Transfer-Encoding: chunked')}0\r\n\r\n${hidden}`,
  ),
  framing(
    'Transfer-Encoding before Content-Length (TE.CL)',
    `${withLine('Transfer-Encoding: chunked', 'Content-Length: 4')}5c\r\n${hidden}0\r\n\r\n`,
  ),
  framing('Content-Length: 0 beside chunked', withLine('Transfer-Encoding: chunked', 'Content-Length: 0')),
  framing(
    'two Content-Lengths that differ',
    `${withLine('Content-Length: 0', 'Content-Length: 61')}${hidden}`,
  ),
  framing('a list of Content-Lengths that differ', `${withLine('Content-Length: 0, 61')}${hidden}`),
  framing(
    'Content-Lengths equal as numbers only',
    `${withLine('Content-Length: 5', 'Content-Length: 05')}12345`,
  ),
  framing('Content-Length with a sign', `${withLine('Content-Length: +5')}12345`),
  framing('Content-Length below zero', withLine('Content-Length: -1')),
  framing('Content-Length in hexadecimal', `${withLine('Content-Length: 0x5')}12345`),
  framing('Content-Length with a fraction', `${withLine('Content-Length: 5.0')}12345`),
  framing('Content-Length with a space inside', `${withLine('Content-Length: 1 0')}1234567890`),
  framing('Content-Length without a value', withLine('Content-Length:')),
  framing('Content-Length with an empty element', withLine('Content-Length: 0,')),
  framing('Content-Length in other digits', withLine('Content-Length: \xb2')),
  framing('Content-Length beyond 2^64', withLine('Content-Length: 18446744073709551616')),
  framing('an unknown coding', `${withLine('Transfer-Encoding: xchunked')}0\r\n\r\n`),
  framing('chunked not last', `${withLine('Transfer-Encoding: chunked, identity')}0\r\n\r\n`),
  framing('a coding before chunked', `${withLine('Transfer-Encoding: gzip, chunked')}0\r\n\r\n`),
  framing('identity', withLine('Transfer-Encoding: identity')),
  framing('chunked twice', `${withLine('Transfer-Encoding: chunked, chunked')}0\r\n\r\n`),
  framing(
    'two Transfer-Encodings',
    `${withLine('Transfer-Encoding: chunked', 'Transfer-Encoding: cow')}0\r\n\r\n`,
  ),
  framing('chunked in quotes', `${withLine('Transfer-Encoding: "chunked"')}0\r\n\r\n`),
  framing('chunked with a parameter', `${withLine('Transfer-Encoding: chunked;q=1')}0\r\n\r\n`),
  framing('an empty element beside chunked', `${withLine('Transfer-Encoding: ,chunked')}0\r\n\r\n`),
  framing('Transfer-Encoding without a value', withLine('Transfer-Encoding:')),
  framing(
    'Transfer-Encoding in HTTP/1.0',
    `POST http://origin.test/ HTTP/1.0\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ),
  framing(
    'CONNECT with a body',
    `CONNECT origin.test:443 HTTP/1.1\r\n${host}\r\nContent-Length: 5\r\n\r\n12345`,
  ),
  framing(
    'CONNECT with chunks',
    `CONNECT origin.test:443 HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ),

  head('space before the colon', `${withLine('Transfer-Encoding : chunked')}0\r\n\r\n`),
  head('tab before the colon', `${withLine('Transfer-Encoding\t: chunked')}0\r\n\r\n`),
  head('a folded line', withLine('X-Folded: a', ' b')),
  head('a folded line that hides a length', withLine('X-Folded: a', '\tContent-Length: 5')),
  head('white space before the first field', `GET / HTTP/1.1\r\n ${host}\r\n\r\n`),
  head('a line without a colon', withLine('Transfer-Encoding chunked')),
  head('a field without a name', withLine(': chunked')),
  head('a name with a control character', withLine('Transfer-Encoding\x0b: chunked')),
  head('a name above ASCII', withLine('Tr\xe4nsfer: chunked')),
  head('NUL in a value', withLine('X-Nul: a\0b')),
  head('CR in a value', withLine('X-Cr: a\rTransfer-Encoding: chunked')),
  head('a control character in a value', withLine('Transfer-Encoding: \x0bchunked')),
  head('DEL in a value', withLine('X-Del: a\x7fb')),
  head('bare LF after a field', `GET / HTTP/1.1\r\n${host}\nTransfer-Encoding: chunked\r\n\r\n`),
  head('bare LF after the request line', `GET / HTTP/1.1\n${host}\r\n\r\n`),
  head('bare LF throughout', `GET / HTTP/1.1\n${host}\n\n`),
  head('bare LF as the empty line', `GET / HTTP/1.1\r\n${host}\r\n\n${hidden}`),
  head('CR CR LF', `GET / HTTP/1.1\r\n${host}\r\r\n\r\n`),
  head('two Hosts', withLine('Host: other.test')),
  head('two spaces in the request line', `GET  / HTTP/1.1\r\n${host}\r\n\r\n`),
  head('a tab in the request line', `GET\t/ HTTP/1.1\r\n${host}\r\n\r\n`),
  head('a space at the end of the request line', `GET / HTTP/1.1 \r\n${host}\r\n\r\n`),
  head('a space in the target', `GET /a b HTTP/1.1\r\n${host}\r\n\r\n`),
  head('a control character in the target', `GET /a\x01b HTTP/1.1\r\n${host}\r\n\r\n`),
  head('NUL in the target', `GET /a\0 HTTP/1.1\r\n${host}\r\n\r\n`),
  head('no version', `GET /\r\n${host}\r\n\r\n`),
  head('a method that is no token', `G(T / HTTP/1.1\r\n${host}\r\n\r\n`),
  head('a version in lower case', `GET / http/1.1\r\n${host}\r\n\r\n`),
  head('a version with two digits', `GET / HTTP/1.10\r\n${host}\r\n\r\n`),
  head('two empty lines before the request', `\r\n\r\nGET / HTTP/1.1\r\n${host}\r\n\r\n`),
  head('HTTP/2 with prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505),
  head('HTTP/0.9 in so many words', `GET / HTTP/0.9\r\n${host}\r\n\r\n`, 505),
  head('HTTP/3.0', `GET / HTTP/3.0\r\n${host}\r\n\r\n`, 505),
  head('a TLS handshake', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03'),
  head('a SOCKS5 greeting', '\x05\x01\0'),
  head('a request line without an end', `GET /${'a'.repeat(1024 * 1024)} HTTP/1.1\r\n${host}\r\n\r\n`, 414),
  head('fields without an end', withLine(`X-Long: ${'a'.repeat(1024 * 1024)}`), 431),
  head(
    'very many fields',
    withLine(...(Array.from({ length: 50_000 }, (_, i) => `X-${i}: 1`) as [string])),
    431,
  ),

  body('a chunk size with 0x', chunked('0x5\r\n12345\r\n0\r\n\r\n')),
  body('a chunk size with a sign', chunked('+5\r\n12345\r\n0\r\n\r\n')),
  body('a chunk size below zero', chunked('-1\r\n12345\r\n0\r\n\r\n')),
  body('a chunk size with a space before it', chunked(' 5\r\n12345\r\n0\r\n\r\n')),
  body('a chunk size with a space after it', chunked('5 \r\n12345\r\n0\r\n\r\n')),
  body('an empty chunk size', chunked('\r\n12345\r\n0\r\n\r\n')),
  body('a chunk size beyond 2^64', chunked('10000000000000005\r\n12345\r\n0\r\n\r\n')),
  body('a chunk size ended by LF', chunked('5\n12345\r\n0\r\n\r\n')),
  body('a chunk size ended by CR', chunked('5\r12345\r\n0\r\n\r\n')),
  body('a chunk longer than its size', chunked('5\r\n123456\r\n0\r\n\r\n')),
  body('a chunk ended by LF', chunked('5\r\n12345\n0\r\n\r\n')),
  body('a chunk without an end', chunked('5\r\n123450\r\n\r\n')),
  body('a chunk extension ended by LF (TERM.EXT)', chunked(`5;a\n12345\r\n0\r\n\r\n${hidden}`)),
  body('a chunk extension with CR inside', chunked('5;a\rb\r\n12345\r\n0\r\n\r\n')),
  body('a chunk extension without a name', chunked('5;\r\n12345\r\n0\r\n\r\n')),
  body('a chunk extension with an open quote', chunked('5;a="b\r\n12345\r\n0\r\n\r\n')),
  body('a chunk extension without an end', chunked(`5;a=${'b'.repeat(64 * 1024)}`)),
  body('extensions on very many chunks', chunked(`1;a=${'b'.repeat(500)}\r\nx\r\n`.repeat(1000))),
  body('trailers ended by LF', chunked('0\r\nX-A: b\n\r\n')),
  body('a folded trailer', chunked('0\r\nX-A: b\r\n c\r\n\r\n')),
  body('space before a trailer’s colon', chunked('0\r\nX-A : b\r\n\r\n')),
  body('Content-Length in the trailers', chunked('0\r\nContent-Length: 5\r\n\r\n')),
  body('Transfer-Encoding in the trailers', chunked('0\r\nTransfer-Encoding: chunked\r\n\r\n')),
  body('Host in the trailers', chunked('0\r\nHost: other.test\r\n\r\n')),
  body('trailers without an end', chunked(`0\r\n${'X-A: b\r\n'.repeat(10_000)}`)),
];
