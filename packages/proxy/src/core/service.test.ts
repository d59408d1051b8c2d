import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { tcp } from '../transports/tcp/index.ts';
import type { Accept, Conn } from './conn.ts';
import { describedConn } from './described-conn.ts';
import { ProxyError } from './errors.ts';
import type { SessionEvent } from './events.ts';
import { createLoopGuard } from './loop-guard.ts';
import { memoryConnPair } from './memory-conn.fixture.ts';
import type { Handler } from './protocol.ts';
import type { Session } from './session.ts';
import { startService } from './service.ts';
import type { RunningService, ServiceParts } from './service.ts';

const open: { destroy(): unknown }[] = [];
let service: RunningService | undefined;
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await service?.close();
});

async function start(
  handle: (conn: Conn, session: Session) => Promise<void>,
  more: Partial<ServiceParts> = {},
) {
  const events: SessionEvent[] = [];
  const closed: (() => void)[] = [];
  const way = tcp.wrap(undefined, { metadata: {} });
  const handler: Handler = { metadata: {}, serves: 'stream', handle: handle as Handler['handle'] };
  service = await startService({
    ...{ service: 's', address: { host: '127.0.0.1', port: 0 }, base: way, direct: way },
    ...{ layers: (under) => under, handler, options: { metadata: {} } },
    ...{ retries: 0, dialTimeoutMs: 15_000, idleMs: 0, serve: () => Promise.resolve() },
    publish(_session, event) {
      events.push(event);
      if (event.kind === 'closed') for (const told of closed.splice(0)) told();
    },
    problem(error) {
      throw error;
    },
    ...more,
  });
  const { port } = service.address;
  const connect = async () => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => undefined).resume();
    open.push(socket);
    // A connection that is reset at once may be over before it is known to have begun.
    await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => undefined);
    return socket;
  };
  return { events, connect, service, closedOnce: () => new Promise<void>((resolve) => closed.push(resolve)) };
}

describe('a service', () => {
  test('keeps one connection’s error from the others, whatever it is', async () => {
    const { connect, events, closedOnce } = await start(async (conn) => {
      const bytes = await conn.read();
      if (String(bytes) === 'fail') throw new TypeError('a mistake');
      if (String(bytes) === 'bad') throw new ProxyError('malformedRequest', 'client', 'bad');
      await conn.write(bytes!);
      await conn.end();
    });
    for (const [say, error] of [
      ['fail', { code: 'internal', at: 'self' }],
      ['bad', { code: 'malformedRequest' }],
    ] as const) {
      const told = closedOnce();
      (await connect()).write(say);
      await told;
      expect(events.at(-1)).toMatchObject({ kind: 'closed', error });
    }
    const told = closedOnce();
    const socket = await connect();
    socket.end('fine');
    await told;
    expect(events.at(-1)).toMatchObject({ kind: 'closed', error: undefined });
    expect(events.filter(({ kind }) => kind === 'opened')).toHaveLength(3);
  });

  test('stops: accepts nothing more, tells its sessions, waits for them', async () => {
    let begun!: () => void;
    const inside = new Promise<void>((resolve) => (begun = resolve));
    const { connect, service } = await start(async (conn, session) => {
      const interrupted = new Promise<void>((resolve) => session.onStopping(resolve));
      begun();
      await interrupted;
      await conn.write(Buffer.from('bye'));
      await conn.end();
    });
    const socket = await connect();
    await inside;
    let stopped = false;
    const stopping = service.stop().then(() => (stopped = true));
    await once(socket, 'end');
    expect(stopped).toBe(false);
    expect((await connect()).destroyed).toBe(true);
    socket.end();
    await stopping;
  });

  test('closes: everything ends at once', async () => {
    let begun!: () => void;
    const inside = new Promise<void>((resolve) => (begun = resolve));
    const { connect, service } = await start(async (conn) => {
      begun();
      await conn.read();
    });
    const socket = await connect();
    await inside;
    const broken = new Promise((resolve) => socket.once('close', resolve));
    await service.close();
    expect(await broken).toBe(true);
    await service.close();
  });
});

describe('who may connect', () => {
  const answering = (ask: () => boolean | Promise<boolean>): Partial<ServiceParts> => ({
    admission: { admit: ask },
  });

  test('is asked once, with all that is known, and a no is no byte', async () => {
    const asks: unknown[] = [];
    let served = 0;
    const admit = (ask: unknown) => {
      asks.push(ask);
      return asks.length > 1;
    };
    const { connect, events, closedOnce } = await start(
      async (conn) => {
        served++;
        await conn.end();
      },
      { admission: { admit } },
    );
    const told = closedOnce();
    const socket = await connect();
    await told;
    const client = expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string;
    expect(asks).toEqual([{ client, service: 's', network: 'tcp' }]);
    expect(socket.bytesRead).toBe(0);
    expect(served).toBe(0);
    expect(events.map(({ kind }) => kind)).toEqual(['opened', 'decided', 'closed']);
    expect(events.at(-1)).toMatchObject({ error: { code: 'forbidden' } });
    const again = closedOnce();
    (await connect()).end();
    await again;
    expect(served).toBe(1);
  });

  test('nobody waits for another one’s question', async () => {
    let first = true;
    let answer!: (yes: boolean) => void;
    const { connect, closedOnce } = await start(
      async (conn) => {
        await conn.read();
        await conn.end();
      },
      answering(() => {
        if (!first) return true;
        first = false;
        return new Promise((resolve) => (answer = resolve));
      }),
    );
    await connect();
    const told = closedOnce();
    (await connect()).end();
    await told;
    const late = closedOnce();
    answer(false);
    await late;
  });

  test('could not ask is no', async () => {
    const { connect, events, closedOnce } = await start(
      () => Promise.reject(new Error('not served')),
      answering(() => {
        throw new Error('broken');
      }),
    );
    const told = closedOnce();
    await connect();
    await told;
    expect(events.at(-1)).toMatchObject({ error: { code: 'couldNotAsk' } });
  });

  test('a connection too many is closed, and its place is free again when another one goes', async () => {
    let open = 0;
    const connections = { enter: () => (open >= 1 ? undefined : (open++, () => void open--)) };
    const { connect, closedOnce } = await start(
      async (conn) => {
        await conn.read();
        await conn.end();
      },
      { connections, problem: () => undefined },
    );
    const socket = await connect();
    const refused = await connect();
    if (!refused.closed) await once(refused, 'close');
    const told = closedOnce();
    socket.end();
    await told;
    const again = closedOnce();
    (await connect()).end();
    await again;
  });
});

describe('a connection that is not served yet', () => {
  test('is told to be over once, where the client goes while somebody is asked about it', async () => {
    for (const answer of [true, false]) {
      let asked!: () => void;
      let decide!: (yes: boolean) => void;
      const isAsked = new Promise<void>((resolve) => (asked = resolve));
      let served = 0;
      const { connect, events, closedOnce, service } = await start(
        async (conn) => {
          served++;
          await conn.end();
        },
        {
          admission: {
            admit() {
              asked();
              return new Promise((resolve) => (decide = resolve));
            },
          },
        },
      );
      const told = closedOnce();
      const socket = await connect();
      await isAsked;
      socket.resetAndDestroy();
      await told;
      decide(answer);
      await service.close();
      expect(served).toBe(0);
      expect(events.map(({ kind }) => kind).filter((kind) => kind !== 'decided')).toEqual([
        'opened',
        'closed',
      ]);
    }
  });

  test('is waited for by a service that stops', async () => {
    let asked!: () => void;
    let decide!: (yes: boolean) => void;
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const { connect, service } = await start(
      async (conn) => {
        await conn.write(Buffer.from('served'));
        await conn.end();
      },
      {
        admission: {
          admit() {
            asked();
            return new Promise((resolve) => (decide = resolve));
          },
        },
      },
    );
    const socket = await connect();
    await isAsked;
    let stopped = false;
    const stopping = service.stop().then(() => (stopped = true));
    // Whatever `stop` would need to come to its end, it has had.
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(stopped).toBe(false);
    decide(true);
    await once(socket, 'end');
    socket.end();
    await stopping;
  });

  test('ends with the service, while a layer shakes hands', async () => {
    let arrived!: () => void;
    const hasArrived = new Promise<void>((resolve) => (arrived = resolve));
    const { connect, service, events } = await start(() => Promise.reject(new Error('not served')), {
      layers: (under) => ({
        ...under,
        listen: (at, _accept, problem) =>
          under.listen!(
            at,
            () => {
              arrived();
            },
            problem,
          ),
      }),
    });
    const socket = await connect();
    await hasArrived;
    const over = new Promise((resolve) => socket.once('close', resolve));
    await service.close();
    await over;
    expect(events.map(({ kind }) => kind)).toEqual(['opened', 'closed']);
  });
});

describe('a visitor that a connection of others brings', () => {
  test('is one session, counted once, and no concern of the connection', async () => {
    const [carrier, node] = memoryConnPair();
    let accept!: Accept;
    const counted: string[] = [];
    const { events, service, closedOnce } = await start(async (conn) => conn.reset(), {
      base: {
        dial: () => Promise.reject(new Error('not dialled')),
        listen: (address, each) => {
          accept = each;
          return Promise.resolve({ address, close: () => Promise.resolve() });
        },
        close: () => Promise.resolve(),
      },
      connections: {
        enter: (host) => {
          counted.push(host);
          return () => counted.pop();
        },
      },
    });
    const [stream] = memoryConnPair();
    Object.defineProperty(stream, 'under', { value: carrier });
    const told = closedOnce();
    accept(describedConn(stream, { remote: { host: '203.0.113.7', port: 7 } }));
    expect([service.open, counted]).toEqual([1, ['203.0.113.7']]);
    await told;
    expect(events.map(({ kind }) => kind)).toEqual(['opened', 'closed']);
    expect(counted).toEqual([]);
    await service.stop();
    expect([carrier.isEnded, node.isEnded]).toEqual([false, false]);
  });
});

describe('a service that would connect to itself', () => {
  test('is cut after a few rounds', async () => {
    const loops = createLoopGuard();
    let served = 0;
    const { connect, service, events } = await start(
      async (conn, session) => {
        served++;
        const upstream = await session.open(service.address);
        await session.relay(conn, upstream);
      },
      { loops, direct: loops.over(tcp.wrap(undefined, { metadata: {} })) },
    );
    const socket = await connect();
    socket.write('x');
    await new Promise((resolve) => socket.once('close', resolve));
    expect(served).toBe(2);
    expect(events.find((event) => event.kind === 'closed' && event.error !== undefined)).toMatchObject({
      error: { code: 'loop' },
    });
  });
});
