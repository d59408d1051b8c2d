import type { Contract } from '../contract.ts';
import type { PluginErrorCode } from '../errors.ts';
import { flag, frameType, h2Code, h2CodeName } from '../wire/h2/codes.ts';
import { settingId } from '../wire/h2/settings.ts';
import { flood, resetAfter, trickle } from './fault-server.ts';
import type { FaultRow } from './fault-server.ts';
import { answerRaw } from './raw-grpc-server.ts';
import type { AnswerRaw, RawCall } from './raw-grpc-server.ts';
import {
  block,
  data,
  frame,
  grpcFields,
  headers,
  message,
  reply,
  replyBlock,
  settings,
  trailers,
  uint32,
} from './raw-h2.ts';

/**
 * The faults of HTTP/2 below gRPC: streams that are reset, connections that break or say GOAWAY, frames that RFC 9113
 * forbids. What ends a whole connection may be called a broken connection or a bad answer: it is both.
 */
export function h2Faults(contract: Contract): readonly FaultRow[] {
  const row = (
    name: string,
    expected: readonly PluginErrorCode[],
    answer: AnswerRaw,
    more: Partial<FaultRow> = {},
    greet?: Uint8Array,
  ): FaultRow => ({
    name,
    expected,
    options: () => ({ onSocket: (socket) => answerRaw(socket, contract, answer, greet) }),
    ...more,
  });
  const says = (
    name: string,
    expected: readonly PluginErrorCode[],
    bytes: (call: RawCall) => readonly Uint8Array[],
  ): FaultRow => row(name, expected, (call) => call.peer.send(...bytes(call)));
  const hung = (name: string, answer: AnswerRaw, greet?: Uint8Array): FaultRow =>
    row(name, ['timeout'], answer, { hangs: true }, greet);
  /** Frames that no connection survives; the right answer follows, for whoever overlooks them. */
  const broken = (name: string, bytes: (id: number) => Uint8Array): FaultRow =>
    says(name, eitherWay, ({ id, good }) => [bytes(id), reply(id, good)]);
  /** What a server says first in place of SETTINGS. */
  const greets = (name: string, greet: Uint8Array): FaultRow =>
    row(name, eitherWay, ({ peer, id, good }) => peer.send(reply(id, good)), {}, greet);
  const floods = (name: string, piece: (id: number) => Uint8Array): FaultRow =>
    row(name, eitherWay, ({ peer, id }) => {
      peer.send(headers(id, ...grpcFields));
      flood(peer.socket, Buffer.concat(Array.from({ length: 100 }, () => piece(id))));
    });
  const { endHeaders, endStream } = flag;

  return [
    ...resets.flatMap(([code, expected]) => [
      says(`RST_STREAM ${h2CodeName(code)} before the answer`, [expected], ({ id }) => [reset(id, code)]),
      says(`RST_STREAM ${h2CodeName(code)} mid-reply`, [expected], ({ id, good }) => [
        headers(id, ...grpcFields),
        data(id, message(good)),
        reset(id, code),
      ]),
    ]),

    row('reset before the answer', ['unreachable'], ({ peer }) => resetAfter(peer.socket, '')),
    row('reset mid-reply', eitherWay, ({ peer, id, good }) => {
      resetAfter(peer.socket, Buffer.concat([headers(id, ...grpcFields), data(id, message(good))]));
    }),
    row('closed after the head', eitherWay, ({ peer, id }) => {
      peer.socket.end(headers(id, ...grpcFields));
    }),
    row('closed after the message', eitherWay, ({ peer, id, good }) => {
      peer.socket.end(Buffer.concat([headers(id, ...grpcFields), data(id, message(good))]));
    }),
    row('closed inside a frame', eitherWay, ({ peer, id, good }) => {
      peer.socket.end(reply(id, good).subarray(0, -1));
    }),
    row('closed inside the head of a frame', eitherWay, ({ peer, id }) => {
      peer.socket.end(headers(id, ...grpcFields).subarray(0, 5));
    }),

    says('GOAWAY below the call', ['unreachable'], () => [goAway(0, h2Code.noError)]),
    says('GOAWAY ENHANCE_YOUR_CALM below the call', ['unreachable', 'overloaded'], () => [
      goAway(0, h2Code.enhanceYourCalm),
    ]),
    row('GOAWAY and the end before the answer', ['unreachable'], ({ peer, id }) => {
      peer.socket.end(goAway(id, h2Code.internalError));
    }),
    row('GOAWAY and the end mid-reply', eitherWay, ({ peer, id, good }) => {
      peer.socket.end(
        Buffer.concat([
          headers(id, ...grpcFields),
          data(id, message(good)),
          goAway(id, h2Code.internalError),
        ]),
      );
    }),
    hung('hung after GOAWAY', ({ peer, id }) => peer.send(goAway(id, h2Code.noError))),
    hung('hung inside a frame', ({ peer, id }) => peer.send(headers(id, ...grpcFields).subarray(0, -1))),
    hung('hung inside a header block', ({ peer, id }) => {
      peer.send(frame(frameType.headers, 0, id, replyBlock));
    }),
    hung('hung: takes no byte of a body', () => {}, settings([settingId.initialWindowSize, 0])),
    hung('hung: allows no call', () => {}, settings([settingId.maxConcurrentStreams, 0])),
    hung('trickling CONTINUATION', ({ peer, id }) => {
      peer.send(frame(frameType.headers, 0, id, replyBlock));
      trickle(peer.socket, () => frame(frameType.continuation, 0, id, block('x', 'y')));
    }),
    hung('trickling PING', ({ peer }) => {
      trickle(peer.socket, () => frame(frameType.ping, 0, 0, Buffer.alloc(8)));
    }),

    row('endless header block', eitherWay, ({ peer, id }) => {
      peer.send(frame(frameType.headers, 0, id, replyBlock));
      flood(peer.socket, frame(frameType.continuation, 0, id, block('x', 'y'.repeat(1000))));
    }),
    row('endless empty CONTINUATION', eitherWay, ({ peer, id }) => {
      peer.send(frame(frameType.headers, 0, id, replyBlock));
      flood(peer.socket, frame(frameType.continuation, 0, id));
    }),
    says('a header list beyond all limits', eitherWay, ({ id, good }) => [
      ...inParts(id, block(...grpcFields, ...manyFields(2000))),
      data(id, message(good)),
      trailers(id, 'grpc-status', '0'),
    ]),
    floods('endless interim answers', (id) => headers(id, ':status', '103')),
    floods('endless empty DATA', (id) => data(id, Buffer.alloc(0))),
    floods('endless PING', () => frame(frameType.ping, 0, 0, Buffer.alloc(8))),
    floods('endless SETTINGS', () => settings()),
    floods('endless PRIORITY', (id) => frame(frameType.priority, 0, id, Buffer.alloc(5))),
    floods('endless frames of unknown types', (id) => frame(0x77, 0, id, Buffer.alloc(1))),

    greets('no SETTINGS', Buffer.alloc(0)),
    greets('an acknowledgement in place of SETTINGS', frame(frameType.settings, flag.ack, 0)),
    greets('SETTINGS cut inside an entry', frame(frameType.settings, 0, 0, Buffer.alloc(5))),
    greets('SETTINGS on a stream', frame(frameType.settings, 0, 1)),
    greets('SETTINGS with a window beyond 2^31 - 1', settings([settingId.initialWindowSize, 0x8000_0000])),
    greets('SETTINGS with frames of 1 byte', settings([settingId.maxFrameSize, 1])),
    greets('SETTINGS that switch push on', settings([settingId.enablePush, 1])),
    broken('an acknowledgement of SETTINGS with a payload', () =>
      frame(frameType.settings, flag.ack, 0, Buffer.alloc(6)),
    ),

    broken('HPACK garbage', (id) => frame(frameType.headers, endHeaders, id, Buffer.from([0xff, 0xff]))),
    broken('HPACK: an entry of a table that is empty', (id) =>
      frame(frameType.headers, endHeaders, id, Buffer.concat([replyBlock, Buffer.from([0xbe])])),
    ),
    broken('HPACK: a table larger than allowed', (id) =>
      frame(
        frameType.headers,
        endHeaders,
        id,
        Buffer.concat([Buffer.from([0x3f, 0xe1, 0xff, 0x03]), replyBlock]),
      ),
    ),
    broken('HPACK: Huffman garbage', (id) =>
      frame(
        frameType.headers,
        endHeaders,
        id,
        Buffer.concat([replyBlock, Buffer.from([0, 0x81, 0, 0x81, 0])]),
      ),
    ),
    broken('a frame larger than allowed', (id) => data(id, Buffer.alloc(16_385))),
    broken('a header block that is interrupted', (id) =>
      Buffer.concat([
        frame(frameType.headers, 0, id, replyBlock),
        frame(frameType.ping, 0, 0, Buffer.alloc(8)),
        frame(frameType.continuation, endHeaders, id),
      ]),
    ),
    broken('CONTINUATION without HEADERS', (id) => frame(frameType.continuation, endHeaders, id, replyBlock)),
    broken('more padding than payload', (id) =>
      frame(frameType.headers, endHeaders | flag.padded, id, Buffer.from([200, 1, 2])),
    ),
    broken('server push', (id) =>
      frame(frameType.pushPromise, endHeaders, id, Buffer.concat([uint32(2), replyBlock])),
    ),
    broken('HEADERS on stream 0', () => headers(0, ...grpcFields)),
    broken('DATA on stream 0', () => data(0, message('x'))),
    broken('DATA on a stream that was never opened', (id) => data(id + 1000, message('x'))),
    broken('HEADERS on a stream that was never opened', (id) => headers(id + 1000, ...grpcFields)),
    broken('HEADERS on a stream of the server', () => headers(2, ...grpcFields)),
    broken('RST_STREAM on a stream that was never opened', (id) => reset(id + 1000, h2Code.cancel)),
    broken('RST_STREAM of 3 bytes', (id) => frame(frameType.rstStream, 0, id, Buffer.alloc(3))),
    broken('PING of 7 bytes', () => frame(frameType.ping, 0, 0, Buffer.alloc(7))),
    broken('GOAWAY of 7 bytes', () => frame(frameType.goAway, 0, 0, Buffer.alloc(7))),
    broken('WINDOW_UPDATE by 0', () => frame(frameType.windowUpdate, 0, 0, uint32(0))),
    broken('a window of the connection beyond 2^31 - 1', () => windowUpdate(0, 0x7fff_ffff)),
    broken('a window of the stream beyond 2^31 - 1', (id) => windowUpdate(id, 0x7fff_ffff)),
    says('DATA before HEADERS', ['badReply'], ({ id, good }) => [data(id, message(good)), reply(id, good)]),
    says('trailers that do not end the stream', ['badReply'], ({ id, good }) => [
      headers(id, ...grpcFields),
      data(id, message(good)),
      headers(id, 'grpc-status', '0'),
    ]),
    says('an interim answer that ends the stream', ['badReply'], ({ id }) => [
      frame(frameType.headers, endHeaders | endStream, id, block(':status', '103')),
    ]),
    row(
      'HTTP/1',
      ['unreachable', 'badReply'],
      ({ peer }) => {
        peer.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
      },
      {},
      Buffer.alloc(0),
    ),
  ];
}

const eitherWay: readonly PluginErrorCode[] = ['unreachable', 'badReply'];

/** What a reset means (gRPC's document "gRPC over HTTP2", errors). */
const resets: readonly (readonly [number, PluginErrorCode])[] = [
  [h2Code.noError, 'internal'],
  [h2Code.protocolError, 'internal'],
  [h2Code.internalError, 'internal'],
  [h2Code.flowControlError, 'internal'],
  [h2Code.settingsTimeout, 'internal'],
  [h2Code.frameSizeError, 'internal'],
  [h2Code.refusedStream, 'unreachable'],
  [h2Code.cancel, 'internal'],
  [h2Code.compressionError, 'internal'],
  [h2Code.connectError, 'internal'],
  [h2Code.enhanceYourCalm, 'overloaded'],
  [h2Code.inadequateSecurity, 'unauthenticated'],
  [99, 'internal'],
];

function reset(id: number, code: number): Buffer {
  return frame(frameType.rstStream, 0, id, uint32(code));
}

function goAway(lastId: number, code: number): Buffer {
  return frame(frameType.goAway, 0, 0, uint32(lastId, code));
}

function windowUpdate(id: number, increment: number): Buffer {
  return frame(frameType.windowUpdate, 0, id, uint32(increment));
}

/** A header block in as few frames as it fits into. */
function inParts(id: number, whole: Buffer): Buffer[] {
  const size = 16_384;
  const parts: Buffer[] = [];
  for (let at = 0; at < whole.length; at += size) {
    const flags = at + size >= whole.length ? flag.endHeaders : 0;
    const type = at === 0 ? frameType.headers : frameType.continuation;
    parts.push(frame(type, flags, id, whole.subarray(at, at + size)));
  }
  return parts;
}

function manyFields(count: number): string[] {
  return Array.from({ length: count }, (_, i) => [`x${i}`, 'a'.repeat(100)]).flat();
}
