import type { RawHeaders } from '../grpc.ts';

/** Why a stream ended before its time. */
export interface StreamFailure {
  /** `peer`: it sent RST_STREAM. `self`: we reset it. `connection`: the connection ended or was never made. */
  readonly by: 'peer' | 'self' | 'connection';
  /** An error code of RFC 9113, section 7. */
  readonly code: number;
  readonly message: string;
  /** The peer has certainly not acted on the stream: REFUSED_STREAM, a GOAWAY below it, or no byte of it was sent. */
  readonly isUnprocessed: boolean;
  readonly cause?: unknown;
}

/** Takes what comes in on one stream. After an `ended`, or after `failed`, nothing more is said. */
export interface StreamSink {
  /** A header section: the first one, further ones before it with a 1xx status, or the trailers. */
  headers(fields: RawHeaders, ended: boolean): void;
  /** Bytes from `from` up to `to`, padding removed; they may be kept. */
  data(bytes: Buffer, from: number, to: number, ended: boolean): void;
  failed(failure: StreamFailure): void;
}

/** One stream's state. It belongs to its connection; layers above hand it back in calls and read its counters. */
export class H2Stream {
  readonly id: number;
  /** Set once by the connection. */
  sink: StreamSink;
  /** What the peer lets us send; negative after it made its initial window smaller. */
  sendWindow: number;
  /** What we let the peer send. */
  receiveWindow: number;
  /** Bytes taken off `receiveWindow` that were not given back yet. */
  owedBytes = 0;
  isLocalEnded = false;
  isRemoteEnded = false;
  isClosed = false;
  /** The first header section that is no 1xx has come; the next one are the trailers. */
  hasHeaders = false;
  /** What content-length promised, and what has come of it. */
  expectedBytes = -1;
  bodyBytes = 0;
  /** What waits for a window, then whether the stream ends behind it, or with which trailers. */
  pending: Buffer | undefined;
  pendingAt = 0;
  endsAfterPending = false;
  pendingTrailers: RawHeaders | undefined;
  /** Bytes of all frames of this stream in each direction. */
  bytesSent = 0;
  bytesReceived = 0;
  /** Where in the connection's output the stream began. */
  readonly position: number;
  /** The next stream of the same place in the connection's table. */
  nextInTable: H2Stream | undefined;
  /** Whole seconds since the stream was opened, as the connection's clock counts them. */
  ageSeconds = 0;

  constructor(id: number, sink: StreamSink, sendWindow: number, receiveWindow: number, position: number) {
    this.id = id;
    this.sink = sink;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.position = position;
  }
}

/** True when the body cannot be, or is not, as long as its content-length said. */
export function isWrongLength(stream: H2Stream, ended: boolean): boolean {
  if (stream.expectedBytes === -1) return false;
  if (Number.isNaN(stream.expectedBytes)) return true;
  return stream.bodyBytes > stream.expectedBytes || (ended && stream.bodyBytes !== stream.expectedBytes);
}
