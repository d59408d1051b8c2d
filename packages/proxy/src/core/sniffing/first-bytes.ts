import { performance } from 'node:perf_hooks';
import { parseClientHello } from '../../wire/client-hello.ts';
import type { ClientHello } from '../../wire/client-hello.ts';
import { sniffProtocol } from '../../wire/sniff.ts';
import type { Sniffed } from '../../wire/sniff.ts';
import { ProxyError } from '../errors.ts';
import type { Session } from '../session.ts';
import type { PeekedConn } from './peeked-conn.ts';

/**
 * What the first bytes are. `silent`: none came in time; `ended`: the peer had nothing to say; `unfinished`: they could still
 * have become HTTP or TLS, and did not in time, so that whoever looks at requests must not let them pass.
 */
export type FirstBytes = Exclude<Sniffed, 'needMore'> | 'silent' | 'ended' | 'unfinished';

/** What has begun may take so long to become what it seems to be. Nearly always it comes in one piece. */
const defaultBeginningMs = 15_000;

/** A first line that is longer than this is no request that we would serve. */
const maxLineBytes = 16 * 1024;

/**
 * Looks at what a client says first, and leaves it there: at most `silentMs` until the first byte, and `beginningMs` from there
 * until it is known what it is. Rejects with the connection's errors.
 */
export async function sniffFirstBytes(
  conn: PeekedConn,
  silentMs: number,
  beginningMs = defaultBeginningMs,
): Promise<FirstBytes> {
  let held: Buffer = Buffer.alloc(0);
  let deadline = performance.now() + silentMs;
  try {
    for (;;) {
      if (!(await conn.stirredWithin(Math.max(0, deadline - performance.now())))) {
        return held.length === 0 ? 'silent' : 'unfinished';
      }
      const bytes = await conn.read();
      if (bytes === null) return held.length === 0 ? 'ended' : 'unknown';
      if (held.length === 0) deadline = performance.now() + beginningMs;
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
      const first = whatBegins(held);
      if (first !== 'needMore') return first;
    }
  } finally {
    conn.unread(held);
  }
}

/**
 * Whatever some server could take for a request is one: any method, tabs for spaces, empty lines in front. Whoever reads it
 * strictly may then refuse it; as something unknown it would pass unseen.
 */
function whatBegins(held: Buffer): Sniffed {
  const sniffed = sniffProtocol(held);
  const isText = sniffed === 'unknown' || sniffed === 'ssh' || sniffed === 'redis' || sniffed === 'needMore';
  if (!isText) return sniffed;
  const line = /^\s*(?:[\x21-\x7e][\t\x20-\x7e\x80-\xff]*)?/.exec(
    held.toString('latin1', 0, maxLineBytes),
  )![0];
  if (/[ \t]HTTP\/\d/i.test(line)) return 'http';
  // The line goes on.
  return line.length === held.length && held.length < maxLineBytes ? 'needMore' : sniffed;
}

/**
 * As {@link sniffFirstBytes}, for a client that nothing has begun with: when the service is being stopped meanwhile, the
 * connection is reset.
 */
export async function awaitFirstBytes(
  conn: PeekedConn,
  session: Session,
  timeoutMs: number,
  beginningMs = timeoutMs,
): Promise<FirstBytes> {
  const undo = session.onStopping(() => conn.reset());
  try {
    return await sniffFirstBytes(conn, timeoutMs, beginningMs);
  } finally {
    undo();
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
