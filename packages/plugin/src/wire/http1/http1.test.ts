import { describe, expect, it } from 'vitest';
import { Http1BodyReader, formatChunkLine } from './body-reader.ts';
import { bodyFraming } from './framing.ts';
import { formatHead, headerTokens, headerValue, headerValues, isToken, keepsAlive } from './head.ts';
import type { Http1RequestHead, Http1ResponseHead } from './head.ts';
import { Http1HeadReader } from './head-reader.ts';
import { Http1Error } from './http1-error.ts';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

function readRequest(text: string): Http1RequestHead {
  const head = new Http1HeadReader('request').push(latin1(text));
  if (head === undefined) throw new Error('the head is not whole');
  return head;
}

function readResponse(text: string): Http1ResponseHead {
  const head = new Http1HeadReader('response').push(latin1(text));
  if (head === undefined) throw new Error('the head is not whole');
  return head;
}

describe('Http1HeadReader', () => {
  it('reads a request as it was written', () => {
    expect(readRequest('GET /a?b=\xfc HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nx-Two:  a b \t\r\n\r\n')).toEqual({
      method: 'GET',
      target: '/a?b=\xfc',
      version: '1.1',
      headers: ['Host', 'h', 'X-Empty', '', 'x-Two', 'a b'],
    });
    expect(readRequest('M-SEARCH * HTTP/1.0\r\n\r\n')).toEqual({
      method: 'M-SEARCH',
      target: '*',
      version: '1.0',
      headers: [],
    });
    expect(readRequest('GET / HTTP/1.9\r\n\r\n').version).toBe('1.1');
  });

  it('reads a response, also without a reason', () => {
    expect(readResponse('HTTP/1.1 200 All is well\r\nA: b\r\n\r\n')).toEqual({
      status: 200,
      reason: 'All is well',
      version: '1.1',
      headers: ['A', 'b'],
    });
    expect(readResponse('HTTP/1.0 404 \r\n\r\n')).toMatchObject({ status: 404, reason: '', version: '1.0' });
    expect(readResponse('HTTP/1.1 204\r\n\r\n')).toMatchObject({ status: 204, reason: '' });
  });

  it('gives what follows the head, and reads the next one', () => {
    const reader = new Http1HeadReader('request');
    expect(reader.push(latin1('GET /1 HTTP/1.1\r\n\r\nbodyGE'))?.target).toBe('/1');
    expect(reader.rest.toString()).toBe('bodyGE');
    expect(reader.started).toBe(false);
    expect(reader.push(latin1('GE'))).toBeUndefined();
    expect(reader.started).toBe(true);
    expect(reader.push(latin1('T /2 HTTP/1.1\r\n\r'))).toBeUndefined();
    expect(reader.push(latin1('\nrest'))?.target).toBe('/2');
    expect(reader.rest.toString()).toBe('rest');
    expect(reader.started).toBe(false);
  });

  it('skips one empty line before a request, and none before a response', () => {
    expect(readRequest('\r\nGET / HTTP/1.1\r\n\r\n').target).toBe('/');
    expect(() => readResponse('\r\nHTTP/1.1 200 OK\r\n\r\n')).toThrow(Http1Error);
  });

  it('blames the origin for a bad response', () => {
    const attempts = [
      'HTTP/1.1 20 OK\r\n\r\n',
      'HTTP/1.1 099 OK\r\n\r\n',
      'HTTP/2 200 OK\r\n\r\n',
      'HTTP/2.0 200 OK\r\n\r\n',
      'ICY 200 OK\r\n\r\n',
      'HTTP/1.1  200 OK\r\n\r\n',
      'HTTP/1.1 200 O\0K\r\n\r\n',
      'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
      `HTTP/1.1 200 ${'a'.repeat(1024 * 1024)}\r\n\r\n`,
      `HTTP/1.1 200 OK\r\nA: ${'a'.repeat(1024 * 1024)}\r\n\r\n`,
    ];
    for (const attempt of attempts) {
      expect(() => readResponse(attempt), JSON.stringify(attempt.slice(0, 40))).toThrow(
        expect.objectContaining({ name: 'Http1Error', status: 502 }),
      );
    }
  });

  it('keeps to the limits to the byte, whole or in pieces', () => {
    const limits = { maxStartLineBytes: 20, maxFieldsBytes: 16 };
    const read = (text: string, size: number): string => {
      const reader = new Http1HeadReader('request', limits);
      try {
        for (let at = 0; at < text.length; at += size) {
          if (reader.push(latin1(text.slice(at, at + size))) !== undefined) return 'ok';
        }
        return 'more';
      } catch (error) {
        if (!(error instanceof Http1Error)) throw error;
        return String(error.status);
      }
    };
    for (const size of [1, 7, 1000]) {
      expect(read('GET /0123456 HTTP/1.1\r\n\r\n', size)).toBe('414');
      expect(read('GET /012345 HTTP/1.1\r\n\r\n', size)).toBe('ok');
      expect(read('GET / HTTP/1.1\r\nA: 01234567890\r\n\r\n', size)).toBe('ok');
      expect(read('GET / HTTP/1.1\r\nA: 012345678901\r\n\r\n', size)).toBe('431');
    }
  });

  it('refuses garbage at its first bytes and does not wait for the end of a line', () => {
    for (const start of [
      '\x16\x03',
      '\x05',
      'GET / HTTP/1.1\n',
      'GET / HTTP/1.1\r\r',
      'hello\r\n',
      'GET /\r\n',
    ]) {
      expect(() => new Http1HeadReader('request').push(latin1(start)), JSON.stringify(start)).toThrow(
        Http1Error,
      );
    }
  });
});

describe('bodyFraming', () => {
  const request = (method: string, ...headers: string[]): Http1RequestHead => ({
    method,
    target: '/',
    version: '1.1',
    headers,
  });
  const response = (status: number, ...headers: string[]): Http1ResponseHead => ({
    status,
    reason: '',
    version: '1.1',
    headers,
  });

  it('follows RFC 9112, section 6.3', () => {
    expect(bodyFraming(request('GET'))).toEqual({ kind: 'none' });
    expect(bodyFraming(request('POST', 'content-length', '7'))).toEqual({ kind: 'length', length: 7 });
    expect(bodyFraming(request('POST', 'Transfer-Encoding', 'Chunked'))).toEqual({ kind: 'chunked' });
    expect(bodyFraming(request('CONNECT', 'Content-Length', '0'))).toEqual({ kind: 'none' });
    expect(bodyFraming(response(200), 'GET')).toEqual({ kind: 'untilClose' });
    expect(bodyFraming(response(200, 'Content-Length', '5'), 'GET')).toEqual({ kind: 'length', length: 5 });
    expect(bodyFraming(response(200, 'Transfer-Encoding', 'chunked'), 'GET')).toEqual({ kind: 'chunked' });
    for (const status of [100, 101, 103, 204, 304]) {
      expect(bodyFraming(response(status, 'Content-Length', '5'), 'GET')).toEqual({ kind: 'none' });
    }
    expect(bodyFraming(response(200, 'Content-Length', '5'), 'HEAD')).toEqual({ kind: 'none' });
    expect(
      bodyFraming(response(200, 'Content-Length', '5', 'Transfer-Encoding', 'chunked'), 'CONNECT'),
    ).toEqual({ kind: 'none' });
    expect(bodyFraming(response(407, 'Content-Length', '5'), 'CONNECT')).toEqual({
      kind: 'length',
      length: 5,
    });
  });

  it('takes equal lengths for one', () => {
    expect(bodyFraming(request('POST', 'Content-Length', '5', 'content-length', '5'))).toMatchObject({
      length: 5,
    });
    expect(bodyFraming(request('POST', 'Content-Length', '5, 5'))).toMatchObject({ length: 5 });
  });

  it('blames whoever sent the message', () => {
    const both = ['Content-Length', '5', 'Transfer-Encoding', 'chunked'];
    expect(() => bodyFraming(request('POST', ...both))).toThrow(expect.objectContaining({ status: 400 }));
    expect(() => bodyFraming(response(200, ...both), 'GET')).toThrow(
      expect.objectContaining({ status: 502 }),
    );
    expect(() => bodyFraming(response(304, ...both), 'GET')).toThrow(
      expect.objectContaining({ status: 502 }),
    );
  });
});

describe('Http1BodyReader', () => {
  it('ends a body with a length exactly', () => {
    const reader = new Http1BodyReader({ kind: 'length', length: 5 }, 'request');
    expect(reader.push(latin1('123')).map(String)).toEqual(['123']);
    expect(reader.done).toBe(false);
    expect(() => reader.end()).toThrow('cut short');
    expect(reader.push(latin1('45next')).map(String)).toEqual(['45']);
    expect(reader.done).toBe(true);
    expect(reader.push(latin1(' more'))).toEqual([]);
    expect(reader.rest.toString()).toBe('next more');
    expect(() => reader.end()).not.toThrow();
  });

  it('is done at once where there is no body', () => {
    expect(new Http1BodyReader({ kind: 'none' }, 'request').done).toBe(true);
    expect(new Http1BodyReader({ kind: 'length', length: 0 }, 'request').done).toBe(true);
  });

  it('reads until the close where nothing else is said', () => {
    const reader = new Http1BodyReader({ kind: 'untilClose' }, 'response');
    expect(reader.push(latin1('all')).map(String)).toEqual(['all']);
    expect(reader.done).toBe(false);
    reader.end();
    expect(reader.done).toBe(true);
  });

  it('reads chunks, extensions and trailers', () => {
    const reader = new Http1BodyReader({ kind: 'chunked' }, 'request');
    const text =
      '5\r\nhello\r\n00A ; a ; b=c ; d="e\\"f;g"\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nY:\r\n\r\nnext';
    expect(Buffer.concat(reader.push(latin1(text))).toString()).toBe('hello0123456789');
    expect(reader.done).toBe(true);
    expect(reader.trailers).toEqual(['X-Sum', '1', 'Y', '']);
    expect(reader.rest.toString()).toBe('next');
  });

  it('says that a chunked body was cut short', () => {
    const whole = '5\r\nhello\r\n0\r\n\r\n';
    for (let length = 0; length < whole.length; length++) {
      const reader = new Http1BodyReader({ kind: 'chunked' }, 'response');
      reader.push(latin1(whole.slice(0, length)));
      expect(() => reader.end(), String(length)).toThrow(expect.objectContaining({ status: 502 }));
    }
  });
});

describe('formatHead', () => {
  it('is what the reader reads', () => {
    const headers = ['Host', 'h:1', 'X-Empty', '', 'X-High', '\xe4'];
    expect(readRequest(formatHead('PUT /a HTTP/1.1', headers))).toEqual({
      method: 'PUT',
      target: '/a',
      version: '1.1',
      headers,
    });
  });

  it('writes nothing that would be read otherwise', () => {
    const attempts: [string, string[]][] = [
      ['GET / HTTP/1.1\r\nA: b', []],
      ['GET / HTTP/1.1', ['A', 'b\r\nC: d']],
      ['GET / HTTP/1.1', ['A', 'b\nC: d']],
      ['GET / HTTP/1.1', ['A', '\0']],
      ['GET / HTTP/1.1', ['A', '\u010d']],
      ['GET / HTTP/1.1', ['A ', 'b']],
      ['GET / HTTP/1.1', ['', 'b']],
      ['GET / HTTP/1.1', ['A:', 'b']],
    ];
    for (const [line, headers] of attempts) expect(() => formatHead(line, headers)).toThrow(Http1Error);
  });
});

describe('reading headers', () => {
  const headers = ['connection', 'Keep-Alive, X-A', 'Via', '1', 'CONNECTION', ' ,Close'];
  it('finds them in any case', () => {
    expect(headerValue(headers, 'via')).toBe('1');
    expect(headerValue(headers, 'none')).toBeUndefined();
    expect(headerValues(headers, 'connection')).toEqual(['Keep-Alive, X-A', ' ,Close']);
    expect(headerTokens(headers, 'connection')).toEqual(['keep-alive', 'x-a', 'close']);
    expect(isToken('a-b')).toBe(true);
    expect(isToken('')).toBe(false);
    expect(isToken('a b')).toBe(false);
  });

  it('knows whether the connection goes on', () => {
    expect(keepsAlive(readRequest('GET / HTTP/1.1\r\n\r\n'))).toBe(true);
    expect(keepsAlive(readRequest('GET / HTTP/1.1\r\nConnection: close\r\n\r\n'))).toBe(false);
    expect(keepsAlive(readRequest('GET / HTTP/1.0\r\n\r\n'))).toBe(false);
    expect(keepsAlive(readRequest('GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n'))).toBe(true);
    expect(keepsAlive(readRequest('GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n'))).toBe(false);
  });
});

describe('formatChunkLine', () => {
  it('is read back', () => {
    const reader = new Http1BodyReader({ kind: 'chunked' }, 'request');
    const text = `${formatChunkLine(26)}abcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n`;
    expect(Buffer.concat(reader.push(latin1(text)))).toHaveLength(26);
    expect(reader.done).toBe(true);
  });
});
