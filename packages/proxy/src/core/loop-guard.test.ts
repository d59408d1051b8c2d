import { describe, expect, test } from 'vitest';
import type { Address, Conn, End } from './conn.ts';
import type { SessionFacts } from './events.ts';
import { createLoopGuard } from './loop-guard.ts';
import type { Context, Way } from './way.ts';

const port = 8080;
const to = { host: '127.0.0.1', port };

/** Connections whose own end is at the port that was given last. */
function scene() {
  const guard = createLoopGuard();
  let local: Address = { host: '127.0.0.1', port: 50_000 };
  const way = guard.over({
    dial() {
      let close!: () => void;
      const closed = new Promise<void>((resolve) => (close = resolve));
      return Promise.resolve({ kind: 'stream', local, closed, reset: close } as unknown as Conn);
    },
    close: () => Promise.resolve(),
  } satisfies Way);
  return {
    guard,
    dial(from: { session?: string; service?: string }, at: number, target = to) {
      local = { host: '127.0.0.1', port: at };
      return way.dial(target, { signal: new AbortController().signal, ...from } as Context);
    },
    arrive: (at: number, id: string, service: string, kind = 'stream') =>
      guard.check({ kind, remote: { host: '127.0.0.1', port: at } } as End, { id, service } as SessionFacts),
  };
}

describe('a loop guard', () => {
  test('cuts what comes the third time through one service, and says which way it ran', async () => {
    const { guard, dial, arrive } = scene();
    guard.listens(port);
    await arrive(1, 's1', 'a');
    await dial({ session: 's1', service: 'a' }, 50_001);
    await arrive(50_001, 's2', 'b');
    await dial({ session: 's2', service: 'b' }, 50_002);
    await arrive(50_002, 's3', 'a');
    await dial({ session: 's3', service: 'a' }, 50_003);
    await arrive(50_003, 's4', 'b');
    await dial({ session: 's4', service: 'b' }, 50_004);
    await expect(arrive(50_004, 's5', 'a')).rejects.toMatchObject({
      code: 'loop',
      message: 'the connection runs in a circle: a → b → a → b → a',
    });
  });

  test('knows nobody who comes from elsewhere, nor datagrams', async () => {
    const { guard, dial, arrive } = scene();
    guard.listens(port);
    for (let round = 0; round < 5; round++) await dial({ session: 's', service: 'a' }, 50_001);
    for (let round = 0; round < 5; round++) await arrive(50_002, `t${String(round)}`, 'a');
    await dial({ session: 't', service: 'a' }, 50_003);
    await arrive(50_003, 'u', 'a');
    await dial({ session: 'u', service: 'a' }, 50_004);
    await arrive(50_004, 'v', 'a', 'datagrams');
    await expect(arrive(50_004, 'v', 'a')).rejects.toMatchObject({ code: 'loop' });
  });

  test('expects nobody where nothing listens, and after what was dialled has ended', async () => {
    const { guard, dial } = scene();
    await dial({ session: 's', service: 'a' }, 50_001);
    expect(guard.expects).toBe(false);
    const leave = guard.listens(port);
    const again = guard.listens(port);
    const conn = await dial({ session: 's', service: 'a' }, 50_001);
    expect(guard.expects).toBe(true);
    conn.reset();
    await conn.closed;
    expect(guard.expects).toBe(false);
    // Two services share a port for the time of a reload.
    leave();
    leave();
    const other = await dial({ session: 's', service: 'a' }, 50_001);
    expect(guard.expects).toBe(true);
    other.reset();
    again();
    await other.closed;
    await dial({ session: 's', service: 'a' }, 50_001);
    expect(guard.expects).toBe(false);
  });

  test('a port that the system gave out again is the new connection’s', async () => {
    const { guard, dial, arrive } = scene();
    guard.listens(port);
    const first = await dial({ session: 's', service: 'a' }, 50_001);
    await dial({ session: 's', service: 'a' }, 50_001);
    first.reset();
    await first.closed;
    await arrive(50_001, 's2', 'a');
    await dial({ session: 's2', service: 'a' }, 50_002);
    await expect(arrive(50_002, 's3', 'a')).rejects.toMatchObject({ code: 'loop' });
  });

  test('visitors of a unix socket are not taken for each other', async () => {
    const { guard, dial, arrive } = scene();
    guard.listens(0);
    for (const id of ['s1', 's2', 's3', 's4']) {
      await arrive(0, id, 'a');
      await dial({ session: id, service: 'a' }, 0, { host: '/run/a.sock', port: 0 });
    }
    expect(guard.expects).toBe(false);
  });

  test('forgets a session that is over', async () => {
    const { guard, dial, arrive } = scene();
    guard.listens(port);
    await dial({ session: 's', service: 'a' }, 50_001);
    await arrive(50_001, 's2', 'a');
    guard.ended({ id: 's2' } as SessionFacts);
    await dial({ session: 's2', service: 'a' }, 50_002);
    await arrive(50_002, 's3', 'a');
  });
});
