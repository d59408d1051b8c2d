import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Http1BodyReader } from './body-reader.ts';
import { bodyFraming } from './framing.ts';
import type { Http1RequestHead } from './head.ts';
import { Http1HeadReader } from './head-reader.ts';
import { Http1Error } from './http1-error.ts';
import { smugglingAttempts } from './http1-smuggling.fixture.ts';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

/** Cuts bytes at the given places (taken modulo the length). */
function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const parts: Buffer[] = [];
  let from = 0;
  for (const place of [...places, bytes.length]) {
    parts.push(bytes.subarray(from, place));
    from = place;
  }
  return parts;
}

/** What a careful server makes of a connection's bytes: the requests it reads, or the status it refuses them with. */
function serve(parts: readonly Buffer[]): { requests: unknown[]; status?: number } {
  const requests: unknown[] = [];
  const heads = new Http1HeadReader('request');
  let head: Http1RequestHead | undefined;
  let body: Http1BodyReader | undefined;
  let data: Buffer[] = [];
  try {
    for (const part of parts) {
      let input = part;
      let again = true;
      while (again) {
        again = false;
        if (body === undefined) {
          head = heads.push(input);
          if (head === undefined) break;
          body = new Http1BodyReader(bodyFraming(head), 'request');
          input = heads.rest;
          data = [];
        }
        data.push(...body.push(input));
        if (body.done) {
          requests.push({ ...head, body: Buffer.concat(data).toString('latin1'), trailers: body.trailers });
          input = body.rest;
          body = undefined;
          again = input.length > 0;
        }
      }
    }
  } catch (error) {
    if (!(error instanceof Http1Error)) throw error;
    return { requests, status: error.status };
  }
  return { requests };
}

describe('smuggling', () => {
  it.each(smugglingAttempts.map((attempt) => [attempt.name, attempt] as const))(
    'refuses %s',
    (_name, attempt) => {
      const bytes = latin1(attempt.bytes);
      expect(serve([bytes])).toEqual({ requests: [], status: attempt.status });
      if (bytes.length > 4096) return;
      const single = Array.from({ length: bytes.length }, (_, i) => bytes.subarray(i, i + 1));
      expect(serve(single)).toEqual({ requests: [], status: attempt.status });
    },
  );
});

describe('any split', () => {
  const stream = [
    '\r\nGET /1 HTTP/1.1\r\nHost: h\r\n\r\n',
    'POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello\r\n\r\nyou',
    'PUT /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a="b"\r\n\r\n\r\r\nA\r\n0123456789\r\n0\r\nX-A: b\r\n\r\n',
    'POST /4 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'GET /5 HTTP/1.0\r\n\r\n',
  ].join('');

  it('reads the same requests', () => {
    const whole = serve([latin1(stream)]);
    expect(whole.status).toBeUndefined();
    expect(whole.requests).toHaveLength(5);
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 30 }), (cuts) => {
        expect(serve(split(latin1(stream), cuts))).toEqual(whole);
      }),
      { numRuns: 500 },
    );
    expect(
      serve(
        split(
          latin1(stream),
          Array.from(stream, (_, i) => i),
        ),
      ),
    ).toEqual(whole);
  });

  it('of a damaged stream reads the same requests, or refuses it the same', () => {
    const damage = fc.array(fc.tuple(fc.nat(stream.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(damage, fc.array(fc.nat(stream.length), { maxLength: 10 }), (changes, cuts) => {
        const bytes = latin1(stream);
        for (const [at, value] of changes) bytes[at] = value;
        expect(serve(split(bytes, cuts))).toEqual(serve([bytes]));
      }),
      { numRuns: 3000 },
    );
  });

  it('of garbage gives an Http1Error or waits', () => {
    const piece = fc.constantFrom(
      '\r\n',
      '\r',
      '\n',
      ' ',
      ':',
      'GET / HTTP/1.1',
      'chunked',
      '0',
      'Transfer-Encoding',
      'ff',
      ';',
      '\0',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 4 }))), (pieces) => {
        const bytes = latin1(pieces.join(''));
        expect(serve([bytes]).status ?? 400).toBeGreaterThanOrEqual(400);
        const framing = { kind: 'chunked' } as const;
        try {
          new Http1BodyReader(framing, 'request').push(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Http1Error);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
