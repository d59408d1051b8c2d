import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { tcp } from '../transports/tcp/index.ts';
import { ProxyError } from './errors.ts';
import type { SessionEvent } from './events.ts';
import type { Protocol } from './protocol.ts';
import { startService } from './service.ts';
import type { RunningService } from './service.ts';

const open: { destroy(): unknown }[] = [];
let service: RunningService | undefined;
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await service?.close();
});

async function start(handle: Protocol['handle']) {
  const events: SessionEvent[] = [];
  const closed: (() => void)[] = [];
  const way = tcp.wrap(undefined);
  service = await startService({
    ...{ service: 's', address: { host: '127.0.0.1', port: 0 }, entry: way, way, authenticate: undefined },
    protocol: { type: 'test', handle },
    publish(_session, event) {
      events.push(event);
      if (event.kind === 'closed') for (const told of closed.splice(0)) told();
    },
    problem(error) {
      throw error;
    },
  });
  const { port } = service.address;
  const connect = async () => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => undefined).resume();
    open.push(socket);
    await once(socket, 'connect');
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
    await expect(connect()).rejects.toThrow(/ECONNREFUSED/);
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
