import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional, text } from '../../schema/read.ts';

/**
 * What `handler.metadata` may say: GOST's keys for a VPN over UDP, which this version does not serve. A site of a router's network
 * has no use for them, there as here.
 */
export const handlerFields = {
  keepalive: { ...optional(flag()), aliases: ['tun.keepalive'] },
  ttlMs: { ...optional(metadataDurationMs(), 'ttl'), aliases: ['tun.ttl'] },
  token: { ...optional(text('a token', true)), aliases: ['tun.token', 'passphrase'] },
  p2p: { ...optional(flag()), aliases: ['tun.p2p'] },
} as const;
