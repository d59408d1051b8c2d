import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional, whole } from '../../schema/read.ts';
import type { Fields, FromFields, Located } from '../../schema/read.ts';

/** GOST has no keys for `rtcp`. */
export const rtcpFields = {} as const satisfies Fields;

/**
 * GOST's keys of `rudp`. `readBufferSize`, `readQueueSize` and `backlog` change nothing: datagrams come in a connection, whole,
 * and nothing waits once a handler receives.
 */
export const rudpFields = {
  ttlMs: optional(metadataDurationMs(), 'ttl'),
  keepalive: optional(flag()),
  readBufferSize: { ...optional(whole(0)), aliases: ['udp.bufferSize'] },
  readQueueSize: { ...optional(whole(0)), aliases: ['recvQueueSize'] },
  backlog: optional(whole(0)),
} as const satisfies Fields;

/** What the file says of either. */
export type RemoteOptions = Partial<Omit<FromFields<typeof rudpFields>, keyof Located>>;
