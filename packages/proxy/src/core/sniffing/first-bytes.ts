import { performance } from 'node:perf_hooks';
import { parseClientHello } from '../../wire/client-hello.ts';
import type { ClientHello } from '../../wire/client-hello.ts';
import { sniffProtocol } from '../../wire/sniff.ts';
import type { Sniffed } from '../../wire/sniff.ts';
import { ProxyError } from '../errors.ts';
import type { PeekedConn } from './peeked-conn.ts';

/** What the first bytes are; `silent`: none came in time; `ended`: the peer had nothing to say. */
export type FirstBytes = Exclude<Sniffed, 'needMore'> | 'silent' | 'ended';

/** Looks at what a client says first, for at most `timeoutMs`, and leaves it there. Rejects with the connection's errors. */
export async function sniffFirstBytes(conn: PeekedConn, timeoutMs: number): Promise<FirstBytes> {
  const deadline = performance.now() + timeoutMs;
  let held: Buffer = Buffer.alloc(0);
  try {
    for (;;) {
      if (!(await conn.stirredWithin(Math.max(0, deadline - performance.now())))) {
        return held.length === 0 ? 'silent' : 'unknown';
      }
      const bytes = await conn.read();
      if (bytes === null) return held.length === 0 ? 'ended' : 'unknown';
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
      const sniffed = sniffProtocol(held);
      if (sniffed !== 'needMore') return sniffed;
    }
  } finally {
    conn.unread(held);
  }
}

/**
 * Reads the ClientHello that a client sends, and leaves it there. Rejects with ProxyError `malformedRequest`,
 * `handshakeTimeout`, or the connection's own errors.
 */
export async function readClientHello(conn: PeekedConn, timeoutMs: number): Promise<ClientHello> {
  const deadline = performance.now() + timeoutMs;
  let held: Buffer = Buffer.alloc(0);
  try {
    for (;;) {
      const parsed = held.length === 0 ? undefined : parseClientHello(held);
      if (parsed?.message === 'notTls') throw broken('what came is no TLS');
      if (parsed !== undefined) return parsed.message;
      if (!(await conn.stirredWithin(Math.max(0, deadline - performance.now())))) {
        const within = `within ${String(timeoutMs / 1000)} s`;
        throw new ProxyError('handshakeTimeout', 'client', `the ClientHello was not whole ${within}`);
      }
      const bytes = await conn.read();
      if (bytes === null) throw broken('the ClientHello was cut short');
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    }
  } finally {
    conn.unread(held);
  }
}

function broken(message: string): ProxyError {
  return new ProxyError('malformedRequest', 'client', message);
}
