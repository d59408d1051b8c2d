import type * as net from 'node:net';
import { deflateRawSync, gzipSync } from 'node:zlib';
import { createMethodCodec } from '../codec.ts';
import type { Contract } from '../contract.ts';
import type { PluginErrorCode } from '../errors.ts';
import { Http1BodyReader, Http1HeadReader, bodyFraming } from '../wire/http1/index.ts';
import type { Http1RequestHead } from '../wire/http1/index.ts';
import { bomb, flood, resetAfter, trickle } from './fault-server.ts';
import type { FaultRow } from './fault-server.ts';
import { typicalSample } from './samples.ts';

/** Answers one request; `good` is the body of the right answer. */
type Misbehave = (socket: net.Socket, good: string, target: string) => void;

/** The faults of HTTP answers. */
export function httpFaults(contract: Contract): readonly FaultRow[] {
  const methods = Object.keys(contract.methods);
  // Where only the status is read, any body is good.
  const withAnswer = methods.filter((name) => contract.methods[name]!.http.statusOnly !== true);
  const row = (
    name: string,
    expected: PluginErrorCode,
    answer: Misbehave,
    more: Partial<FaultRow> = {},
  ): FaultRow => ({
    name,
    expected: [expected],
    options: () => ({ onSocket: (socket) => onRequests(socket, contract, answer) }),
    ...more,
  });
  const bad = (name: string, answer: Misbehave): FaultRow => row(name, 'badReply', answer);
  const badBody = (name: string, body: (good: string) => string): FaultRow =>
    row(name, 'badReply', (socket, good) => void socket.write(reply(body(good))), { methods: withAnswer });
  const hung = (name: string, answer: Misbehave): FaultRow => row(name, 'timeout', answer, { hangs: true });
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n';
  const chunked = `${head}Transfer-Encoding: chunked\r\n\r\n`;

  return [
    ...statuses.map(([status, expected]) =>
      row(`status ${status}`, expected, (socket, good) => {
        const body = status === 204 || status === 304 ? '' : good;
        socket.write(reply(body, `HTTP/1.1 ${status} As It Is`));
      }),
    ),
    ...[301, 302, 303, 307, 308].map((status) =>
      bad(`redirected with ${status} to where the answer is`, (socket, good, target) => {
        const isThere = target.startsWith('/elsewhere');
        const start = isThere ? head : `HTTP/1.1 ${status} Moved\r\nLocation: /elsewhere\r\n`;
        socket.write(`${start}Content-Length: ${Buffer.byteLength(good)}\r\n\r\n${good}`);
      }),
    ),
    bad('a change to another protocol', (socket, good) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n${reply(good)}`,
      );
    }),
    hung('hung: reads the question and never answers', () => {}),
    hung('hung after the head', (socket, good) => {
      socket.write(`${head}Content-Length: ${Buffer.byteLength(good) + 1}\r\n\r\n`);
    }),
    hung('trickling head', (socket) => {
      socket.write(head);
      trickle(socket, () => 'X');
    }),
    hung('trickling interim answers', (socket) => {
      trickle(socket, () => 'HTTP/1.1 102 Processing\r\n\r\n');
    }),
    hung('trickling body', (socket) => {
      socket.write(`${head}Content-Length: 100000\r\n\r\n`);
      trickle(socket, () => ' ');
    }),
    hung('trickling chunks', (socket) => {
      socket.write(chunked);
      trickle(socket, () => '1\r\n \r\n');
    }),
    row('reset before the answer', 'unreachable', (socket) => resetAfter(socket, '')),
    row(
      'reset mid-reply',
      'badReply',
      (socket, good) => {
        resetAfter(socket, `${head}Content-Length: ${Buffer.byteLength(good) + 1}\r\n\r\n${good}`);
      },
      { expected: ['unreachable', 'badReply'] },
    ),
    row('cut short in the head', 'badReply', (socket) => void socket.end(head.slice(0, 30)), {
      expected: ['unreachable', 'badReply'],
    }),
    bad('cut short: one byte less than its length', (socket, good) => {
      socket.end(`${head}Content-Length: ${Buffer.byteLength(good) + 1}\r\n\r\n${good}`);
    }),
    bad('cut short: no last chunk', (socket, good) => void socket.end(`${chunked}${chunk(good)}`)),
    row(
      'cut short: neither length nor end of the JSON',
      'badReply',
      (socket, good) => void socket.end(`HTTP/1.0 200 OK\r\n\r\n${good.slice(0, -1)}`),
      { methods: withAnswer },
    ),
    bad('two lengths that differ', (socket, good) => {
      const { length } = Buffer.from(good);
      socket.write(`${head}Content-Length: ${length}\r\nContent-Length: ${length + 1}\r\n\r\n${good}`);
    }),
    bad('a length and chunks', (socket, good) => {
      socket.write(
        `${head}Content-Length: ${Buffer.byteLength(good)}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(good)}0\r\n\r\n`,
      );
    }),
    bad(
      'a chunk whose size is none',
      (socket, good) => void socket.write(`${chunked}xyz\r\n${good}\r\n0\r\n\r\n`),
    ),
    bad('a negative length', (socket, good) => void socket.write(`${head}Content-Length: -1\r\n\r\n${good}`)),
    bad('a head with a bare LF', (socket, good) => {
      socket.write(`HTTP/1.1 200 OK\nContent-Length: ${Buffer.byteLength(good)}\n\n${good}`);
    }),
    bad('another version', (socket, good) => void socket.write(reply(good, 'HTTP/3.0 200 OK'))),
    bad('oversize: announced', (socket) => void socket.write(`${head}Content-Length: 1000000000\r\n\r\n`)),
    bad('oversize: sent', (socket) => {
      socket.write(chunked);
      flood(socket, chunk(' '.repeat(64 * 1024)));
    }),
    bad('endless head', (socket) => {
      socket.write(head);
      flood(socket, `X-More: ${'x'.repeat(1000)}\r\n`.repeat(16));
    }),
    bad('endless status line', (socket) => {
      socket.write('HTTP/1.1 200 ');
      flood(socket, 'x'.repeat(16 * 1024));
    }),
    bad('endless interim answers', (socket) => flood(socket, 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(500))),
    bad('endless chunk extension', (socket) => {
      socket.write(`${chunked}1;`);
      flood(socket, 'x'.repeat(16 * 1024));
    }),
    bad('endless trailers', (socket, good) => {
      socket.write(`${chunked}${chunk(good)}0\r\n`);
      flood(socket, `X-More: ${'x'.repeat(1000)}\r\n`.repeat(16));
    }),
    bad('gzip bomb', (socket) => void socket.write(encoded('gzip', bomb()))),
    bad('gzip that is none', (socket, good) => void socket.write(encoded('gzip', Buffer.from(good)))),
    bad('gzip cut short', (socket, good) => {
      socket.write(encoded('gzip', gzipSync(good).subarray(0, -9)));
    }),
    bad('an unknown coding', (socket, good) => void socket.write(encoded('zstd', deflateRawSync(good)))),
    badBody('an empty body', () => ''),
    badBody('garbage for JSON', () => '<html>it works</html>'),
    badBody('a list', () => '[]'),
    badBody('two values', (good) => `${good}${good}`),
    badBody('JSON that does not end', (good) => good.slice(0, -1)),
    badBody('JSON nested without end', () => '['.repeat(200_000)),
    ...['{}', '{"OK":true}', '{"ok":"true"}', '{"ok":1}', 'null', 'true'].map((body): FaultRow => ({
      ...badBody(`an object without a yes or no: ${body}`, () => body),
      methods: methods.filter((name) => contract.methods[name]!.http.required?.includes('ok')),
    })),
  ];
}

/** What an answer with another status than 200 is. */
const statuses: readonly (readonly [number, PluginErrorCode])[] = [
  [201, 'badReply'],
  [202, 'badReply'],
  [204, 'badReply'],
  [206, 'badReply'],
  [304, 'badReply'],
  [400, 'internal'],
  [401, 'unauthenticated'],
  [403, 'unauthenticated'],
  [404, 'internal'],
  [405, 'internal'],
  [429, 'overloaded'],
  [500, 'internal'],
  [502, 'unreachable'],
  [503, 'unreachable'],
  [504, 'unreachable'],
];

function reply(body: string, statusLine = 'HTTP/1.1 200 OK'): string {
  return `${statusLine}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

function encoded(coding: string, bytes: Buffer): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** Reads requests and has each of them answered as the fault wants it. */
function onRequests(socket: net.Socket, contract: Contract, answer: Misbehave): void {
  const reader = new Http1HeadReader('request');
  let head: Http1RequestHead | undefined;
  let body: Http1BodyReader | undefined;
  let parts: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => {
    let rest = bytes;
    // A client that writes no proper request is not what a fault is about; it is cut off.
    try {
      while (rest.length > 0) {
        if (head === undefined || body === undefined) {
          head = reader.push(rest);
          if (head === undefined) return;
          rest = reader.rest;
          body = new Http1BodyReader(bodyFraming(head), 'request');
        }
        parts.push(...body.push(rest));
        if (!body.done) return;
        rest = body.rest;
        const { method: verb, target } = head;
        const good = goodAnswer(contract, verb, target, Buffer.concat(parts));
        head = undefined;
        body = undefined;
        parts = [];
        answer(socket, good, target);
      }
    } catch {
      socket.destroy();
    }
  });
}

/** The right answer, whatever the path: a redirect may have changed it. */
function goodAnswer(contract: Contract, verb: string, target: string, body: Buffer): string {
  const names = Object.keys(contract.methods);
  const name = names.find((one) => contract.methods[one]!.http.verb === verb) ?? names[0]!;
  const { http } = createMethodCodec(contract, name);
  const question = target.indexOf('?');
  const { request } = http.decodeAsk(question < 0 ? '' : target.slice(question + 1), body);
  return http.encodeAnswer(typicalSample(contract, name).answer as never, request);
}
