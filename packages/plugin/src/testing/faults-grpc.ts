import { deflateRawSync, gzipSync } from 'node:zlib';
import type { Contract } from '../contract.ts';
import type { PluginErrorCode } from '../errors.ts';
import { flag } from '../wire/h2/codes.ts';
import { bomb, flood, trickle } from './fault-server.ts';
import type { FaultRow } from './fault-server.ts';
import { answerRaw } from './raw-grpc-server.ts';
import type { AnswerRaw, RawCall } from './raw-grpc-server.ts';
import { compressed, data, grpcFields, headers, message, trailers, uint32 } from './raw-h2.ts';

/** The faults of gRPC answers: their HTTP status, their messages, their trailers. The frames are as they should be. */
export function grpcFaults(contract: Contract): readonly FaultRow[] {
  const row = (
    name: string,
    expected: PluginErrorCode,
    answer: AnswerRaw,
    more: Partial<FaultRow> = {},
  ): FaultRow => ({
    name,
    expected: [expected],
    options: () => ({ onSocket: (socket) => answerRaw(socket, contract, answer) }),
    ...more,
  });
  const hung = (name: string, answer: AnswerRaw): FaultRow => row(name, 'timeout', answer, { hangs: true });
  const says = (
    name: string,
    bytes: (call: RawCall) => readonly Uint8Array[],
    expected: PluginErrorCode = 'badReply',
  ): FaultRow => row(name, expected, (call) => call.peer.send(...bytes(call)));
  /** A head, these bytes as the body, and the status OK. */
  const body = (name: string, bytes: (good: Buffer) => Uint8Array, ...more: string[]): FaultRow =>
    says(name, ({ id, good }) => [
      headers(id, ...grpcFields, ...more),
      ...inFrames(id, bytes(good)),
      trailers(id, 'grpc-status', '0'),
    ]);
  const gzip = ['grpc-encoding', 'gzip'];

  return [
    ...statuses.flatMap(([status, expected]) => [
      says(
        `status ${status}`,
        ({ id }) => [trailers(id, ...grpcFields, 'grpc-status', status, 'grpc-message', 'as%20it%20is')],
        expected,
      ),
      says(
        `status ${status} behind the right message`,
        ({ id, good }) => [
          headers(id, ...grpcFields),
          data(id, message(good)),
          trailers(id, 'grpc-status', status),
        ],
        expected,
      ),
    ]),
    ...['', 'fine', '-1', '0x0', '0 0', '1e0', '99999999999'].map((status) =>
      says(`the status ${JSON.stringify(status)}`, ({ id, good }) => [
        headers(id, ...grpcFields),
        data(id, message(good)),
        trailers(id, 'grpc-status', status),
      ]),
    ),
    ...[
      ['0', '7'],
      ['7', '0'],
    ].map(([one, other]) =>
      says(`the statuses ${one} and ${other}`, ({ id, good }) => [
        headers(id, ...grpcFields),
        data(id, message(good)),
        trailers(id, 'grpc-status', one!, 'grpc-status', other!),
      ]),
    ),
    ...httpStatuses.flatMap(([status, expected]) => [
      says(
        `HTTP status ${status}`,
        ({ id }) => [trailers(id, ':status', status, 'location', '/', 'content-type', 'text/html')],
        expected,
      ),
      says(
        `HTTP status ${status} above the right answer`,
        ({ id, good }) => [
          headers(id, ':status', status, 'content-type', 'application/grpc'),
          data(id, message(good)),
          trailers(id, 'grpc-status', '0'),
        ],
        expected,
      ),
    ]),
    ...[undefined, 'text/html', 'application/json', 'application/grpc+json', 'application/grpc-web'].map(
      (type) =>
        says(`the content-type ${type ?? 'missing'}`, ({ id, good }) => [
          headers(id, ':status', '200', ...(type === undefined ? [] : ['content-type', type])),
          data(id, message(good)),
          trailers(id, 'grpc-status', '0'),
        ]),
    ),

    hung('hung: reads the question and never answers', () => {}),
    hung('hung after the head', ({ peer, id }) => peer.send(headers(id, ...grpcFields))),
    hung('hung after the message', ({ peer, id, good }) => {
      peer.send(headers(id, ...grpcFields), data(id, message(good)));
    }),
    hung('trickling head', ({ peer, id }) => {
      const whole = headers(id, ...grpcFields, ...many(100));
      let at = 0;
      trickle(peer.socket, () => whole.subarray(at, ++at));
    }),
    hung('trickling interim answers', ({ peer, id }) => {
      trickle(peer.socket, () => headers(id, ':status', '103'));
    }),
    hung('trickling message', ({ peer, id, good }) => {
      peer.send(headers(id, ...grpcFields), data(id, message(good, 100_000)));
      trickle(peer.socket, () => data(id, Buffer.alloc(1)));
    }),
    hung('trickling empty frames', ({ peer, id, good }) => {
      peer.send(headers(id, ...grpcFields), data(id, message(good)));
      trickle(peer.socket, () => data(id, Buffer.alloc(0)));
    }),

    says('no message, and the status OK', ({ id }) => [
      headers(id, ...grpcFields),
      trailers(id, 'grpc-status', '0'),
    ]),
    says('nothing but trailers, and the status OK', ({ id }) => [
      trailers(id, ...grpcFields, 'grpc-status', '0'),
    ]),
    says('no trailers', ({ id, good }) => [
      headers(id, ...grpcFields),
      data(id, message(good), flag.endStream),
    ]),
    says('trailers without a status', ({ id, good }) => [
      headers(id, ...grpcFields),
      data(id, message(good)),
      trailers(id, 'grpc-message', 'fine'),
    ]),
    says('the status in the head and not in the trailers', ({ id, good }) => [
      headers(id, ...grpcFields, 'grpc-status', '0'),
      data(id, message(good)),
      trailers(id, 'grpc-message', 'fine'),
    ]),
    body('two messages', (good) => Buffer.concat([message(good), message(good)])),
    says('two messages, each in its frame', ({ id, good }) => [
      headers(id, ...grpcFields),
      data(id, message(good)),
      data(id, message(good)),
      trailers(id, 'grpc-status', '0'),
    ]),
    body('a byte behind the message', (good) => Buffer.concat([message(good), Buffer.alloc(1)])),
    body('cut short: one byte less than its length', (good) => message(good, good.length + 1)),
    body('cut short inside the prefix', (good) => message(good).subarray(0, 3)),
    body('a message without its prefix', (good) => Buffer.concat([Buffer.from('{}'), good])),
    body('a compressed flag that is neither 0 nor 1', (good) => {
      const bytes = message(good);
      bytes[0] = 2;
      return bytes;
    }),
    body('oversize: announced', (good) => message(good, 0xffff_ffff)),
    row('oversize: sent', 'badReply', ({ peer, id }) => {
      peer.send(headers(id, ...grpcFields), data(id, message('', 100_000_000)));
      flood(peer.socket, data(id, Buffer.alloc(16_384)));
    }),
    body('compressed, but not saying how', (good) => compressed(gzipSync(good))),
    body('compressed, and said to be plain', (good) => compressed(good), 'grpc-encoding', 'identity'),
    body('an unknown coding', (good) => compressed(deflateRawSync(good)), 'grpc-encoding', 'zstd'),
    body('gzip that is none', (good) => compressed(good), ...gzip),
    body('gzip cut short', (good) => compressed(gzipSync(good).subarray(0, -9)), ...gzip),
    body('gzip bomb', () => compressed(bomb()), ...gzip),
    ...malformed.map(([what, bytes]) => body(`garbage for a message: ${what}`, () => message(bytes))),

    says('a body that is not as long as content-length says', ({ id, good }) => [
      headers(id, ...grpcFields, 'content-length', String(good.length + 6)),
      data(id, message(good)),
      trailers(id, 'grpc-status', '0'),
    ]),
    ...malformedHeads.map(([what, ...fields]) =>
      says(`a malformed head: ${what}`, ({ id, good }) => [
        headers(id, ...fields),
        data(id, message(good)),
        trailers(id, 'grpc-status', '0'),
      ]),
    ),
    says('a pseudo-header field in the trailers', ({ id, good }) => [
      headers(id, ...grpcFields),
      data(id, message(good)),
      trailers(id, ':status', '200', 'grpc-status', '0'),
    ]),
  ];
}

/** Every status but OK (gRPC's document "Status codes"), some that nobody knows, and what each of them means. */
const statuses: readonly (readonly [string, PluginErrorCode])[] = [
  ['1', 'internal'],
  ['2', 'internal'],
  ['3', 'internal'],
  ['4', 'timeout'],
  ['5', 'internal'],
  ['6', 'internal'],
  ['7', 'unauthenticated'],
  ['8', 'overloaded'],
  ['9', 'internal'],
  ['10', 'internal'],
  ['11', 'internal'],
  ['12', 'internal'],
  ['13', 'internal'],
  ['14', 'unreachable'],
  ['15', 'internal'],
  ['16', 'unauthenticated'],
  ['17', 'internal'],
  ['4096', 'internal'],
];

/** What an answer with another HTTP status than 200 is, as gateways give it. */
const httpStatuses: readonly (readonly [string, PluginErrorCode])[] = [
  ['201', 'badReply'],
  ['204', 'badReply'],
  ['301', 'badReply'],
  ['302', 'badReply'],
  ['303', 'badReply'],
  ['304', 'badReply'],
  ['307', 'badReply'],
  ['308', 'badReply'],
  ['400', 'internal'],
  ['401', 'unauthenticated'],
  ['403', 'unauthenticated'],
  ['404', 'internal'],
  ['405', 'internal'],
  ['429', 'overloaded'],
  ['500', 'internal'],
  ['502', 'unreachable'],
  ['503', 'unreachable'],
  ['504', 'unreachable'],
];

/** Bytes that are a message of no type. */
const malformed: readonly (readonly [string, Buffer])[] = [
  ['a tag that does not end', Buffer.from([0xff])],
  ['a field longer than the message', Buffer.from([0x0a, 0x7f, 0x61])],
  ['a group that nothing closes', Buffer.from([0x0b])],
  ['the field number 0', Buffer.from([0x02, 0x00])],
  ['a wire type that is none', Buffer.from([0x0e, 0x00])],
  ['an integer of eleven bytes', Buffer.from([0x08, ...Array.from({ length: 10 }, () => 0xff), 0x01])],
  ['a page', Buffer.from('<html>it works</html>')],
  ['32 bits cut short', Buffer.concat([Buffer.from([0xc5, 0x3e]), uint32(1).subarray(1)])],
];

/** Heads that RFC 9113, section 8, calls malformed. */
const malformedHeads: readonly (readonly string[])[] = [
  ['no status', 'content-type', 'application/grpc'],
  ['two statuses', ':status', '200', ...grpcFields],
  ['a status that is no number', ':status', 'OK', 'content-type', 'application/grpc'],
  ['a status below its place', 'content-type', 'application/grpc', ':status', '200'],
  ['a name in capitals', ...grpcFields, 'Upper', '1'],
  ['a field of a request', ...grpcFields, ':path', '/'],
  ['a field of HTTP/1 connections', ...grpcFields, 'connection', 'close'],
  ['a line end in a value', ...grpcFields, 'x', 'a\r\nb'],
];

/** DATA in frames that everybody takes. */
function inFrames(id: number, bytes: Uint8Array): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 16_384) frames.push(data(id, bytes.subarray(at, at + 16_384)));
  return frames;
}

function many(count: number): string[] {
  return Array.from({ length: count }, (_, i) => [`x${i}`, 'a'.repeat(100)]).flat();
}
