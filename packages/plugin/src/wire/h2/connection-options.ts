import type { H2Limits } from './limits.ts';
import type { H2Stream, StreamSink } from './stream.ts';

/** Why a connection ended. */
export interface ConnectionEnd {
  /** `local`: we closed it as asked. `peer`: it closed or broke. `error`: we found its bytes, or its silence, wrong. */
  readonly by: 'local' | 'peer' | 'error';
  /** An error code of RFC 9113, section 7. */
  readonly code: number;
  readonly message: string;
  readonly cause?: unknown;
}

/** What a connection tells the layer above. */
export interface H2Events {
  /** A server's connection has a new request: who takes what comes in on it. Its headers follow at once. */
  accept?(stream: H2Stream): StreamSink;
  /** A client may open a stream again, or its peer's SETTINGS have come. */
  ready?(): void;
  /** No new stream can be opened any more; those that are open go on. */
  draining?(): void;
  /** The last call; all streams have failed before it. */
  closed(end: ConnectionEnd): void;
}

/** How a connection is set up. */
export interface H2Options {
  readonly role: 'client' | 'server';
  readonly limits: H2Limits;
  readonly events: H2Events;
  /** How much of one stream the peer may send ahead of our reading, and of all streams together. */
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** A client's PING after so long without a byte while calls wait; the connection is given up after as long again. */
  readonly keepaliveMs?: number;
  /** For tests of what happens when the numbers run out. Default 1. */
  readonly firstStreamId?: number;
}
