import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional, whole } from '../../schema/read.ts';
import type { Fields } from '../../schema/read.ts';

/**
 * GOST's keys of a UDP listener. `keepalive` changes nothing: GOST ends a peer's session with the first answer unless it
 * is set, and later answers are lost; here a session always lives until its `ttl` has passed in silence. `readQueueSize` is
 * of no effect either: nothing waits once a handler receives, and little before that.
 */
export const udpListenerFields = {
  ttlMs: { ...optional(metadataDurationMs(), 'ttl'), aliases: ['keepalive.ttl'] },
  keepalive: optional(flag()),
  readBufferSize: { ...optional(whole(0)), aliases: ['udp.bufferSize'] },
  readQueueSize: { ...optional(whole(0)), aliases: ['recvQueueSize'] },
  backlog: optional(whole(0)),
} as const satisfies Fields;

/** GOST has no keys for a UDP dialer. */
export const udpDialerFields = {} as const satisfies Fields;

/** What a UDP listener is told. */
export interface UdpListenerOptions {
  /** Silence after which a peer's session ends, in milliseconds. Absent or 0: 5,000, as in GOST. */
  readonly ttlMs?: number;
  /** Longer datagrams are dropped, in bytes; GOST cuts them, which no protocol understands. Absent or 0: none is. */
  readonly readBufferSize?: number;
  /**
   * Peers that may wait for their handler, which begins when admission has been asked. Absent or 0: 1,024; GOST's 128 wait
   * for less.
   */
  readonly backlog?: number;
}

/** The longest payload that IPv4 carries in one datagram. */
export const maxDatagramBytes = 65_507;

/** What may wait in the system's stead while it takes no more datagrams; later ones are dropped. */
export const maxUnsentBytes = 1024 * 1024;
