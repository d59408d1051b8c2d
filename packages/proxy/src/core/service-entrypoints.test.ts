import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { tcp } from '../transports/tcp/index.ts';
import type { Address, Conn, End, Listening } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { SessionFacts } from './events.ts';
import type { Handler, ServiceHost, StartedHandler } from './protocol.ts';
import { startService } from './service.ts';
import type { RunningService, ServiceParts } from './service.ts';
import type { Session } from './session.ts';

const here: Address = { host: '127.0.0.1', port: 0 };
const sockets: net.Socket[] = [];
const services: RunningService[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(services.splice(0).map((service) => service.close()));
});

/** Says what its visitor says, in capitals. */
const shout = async (end: End) => {
  const conn = end as Conn;
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read())
    await conn.write(Buffer.from(bytes.toString().toUpperCase()));
  await conn.end();
};

async function start(
  start_: (host: ServiceHost, before: unknown) => Promise<Partial<StartedHandler>>,
  more: Partial<ServiceParts> = {},
) {
  const told: string[] = [];
  const way = tcp.wrap(undefined, { metadata: {} });
  const handler: Handler = {
    metadata: {},
    serves: 'stream',
    handle: () => Promise.reject(new Error('a started handler handles by itself')),
    start: async (host, _options, before) => {
      const started = { handle: shout, close: () => Promise.resolve(), ...(await start_(host, before)) };
      return {
        ...started,
        close() {
          told.push('closed');
          return started.close();
        },
      };
    },
  };
  const service = await startService({
    ...{ service: 's', address: here, base: way, direct: way, sockets: () => way },
    ...{ layers: (under) => under, handler, options: { metadata: {} } },
    ...{ retries: 0, dialTimeoutMs: 15_000, idleMs: 0, serve: () => Promise.resolve() },
    publish(session: SessionFacts, event) {
      if (event.kind !== 'closed') return;
      told.push(
        `${session.service} ${session.id === '' ? 'nobody' : 'session'} ${event.error?.code ?? 'well'}`,
      );
    },
    problem(error) {
      told.push(error.code);
    },
    ...more,
  }).catch((error: unknown) => {
    told.push('failed');
    throw Object.assign(error as Error, { told });
  });
  services.push(service);
  return { service, told };
}

async function connect(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1' });
  sockets.push(socket);
  socket.on('error', () => undefined);
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => undefined);
  return socket;
}

async function say(port: number, text: string): Promise<string> {
  const socket = await connect(port);
  let heard = '';
  socket.setEncoding('utf8').on('data', (more: string) => (heard += more));
  socket.end(text);
  await once(socket, 'close');
  return heard;
}

describe('a handler that keeps something for its service', () => {
  test('is started once, and handles what the listener accepts', async () => {
    const { service, told } = await start(() => Promise.resolve({ keeps: 'a table' }));
    expect(await say(service.address.port, 'listener')).toBe('LISTENER');
    expect(service.keeps).toBe('a table');
    await service.stop();
    expect(told).toEqual(['s session well', 'closed']);
  });

  test('is given what the one before it keeps', async () => {
    let given: unknown;
    await start(
      (_host, before) => {
        given = before;
        return Promise.resolve({});
      },
      { before: 'a table' },
    );
    expect(given).toBe('a table');
  });

  test('serves entrypoints, whose visitors are sessions; they close with the service', async () => {
    let entry!: Listening;
    const { service, told } = await start(async (host) => {
      entry = await host.entrypoint({ network: 'tcp', address: here }, shout);
      return {};
    });
    expect(await say(entry.address.port, 'visitor')).toBe('VISITOR');
    expect(told).toEqual(['s session well']);
    await service.stop();
    const late = net.connect({ port: entry.address.port, host: '127.0.0.1' });
    sockets.push(late);
    const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  });

  test('has visitors of entrypoints asked about and counted like clients', async () => {
    let entry!: Listening;
    let admitted = true;
    let places = 1;
    const { told } = await start(
      async (host) => {
        entry = await host.entrypoint({ network: 'tcp', address: here }, shout);
        return {};
      },
      {
        admission: { admit: () => admitted },
        connections: {
          enter: () => (places > 0 ? (places--, () => places++) : undefined),
        },
      },
    );
    expect(await say(entry.address.port, 'first')).toBe('FIRST');
    const first = await connect(entry.address.port);
    first.write('held');
    await once(first, 'data');
    expect(await say(entry.address.port, 'one too many')).toBe('');
    first.end();
    await once(first, 'close');
    admitted = false;
    expect(await say(entry.address.port, 'not wanted')).toBe('');
    expect(told).toEqual(['s session well', 'tooManyRequests', 's session well', 's session forbidden']);
  });

  test('leaves nothing open where the service cannot be started', async () => {
    let entry!: Listening;
    const failing = start(
      async (host) => {
        entry = await host.entrypoint({ network: 'tcp', address: here }, shout);
        return {};
      },
      {
        base: {
          ...tcp.wrap(undefined, { metadata: {} }),
          listen: () => Promise.reject(new ProxyError('addressInUse', 'self', 'taken')),
        },
      },
    );
    await expect(failing).rejects.toMatchObject({ code: 'addressInUse', told: ['closed', 'failed'] });
    const late = net.connect({ port: entry.address.port, host: '127.0.0.1' });
    sockets.push(late);
    await expect(once(late, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('that cannot be started leaves nothing open either', async () => {
    let entry!: Listening;
    const failing = start(async (host) => {
      entry = await host.entrypoint({ network: 'tcp', address: here }, shout);
      throw new ProxyError('listenFailed', 'self', 'the second address is none of ours');
    });
    await expect(failing).rejects.toMatchObject({ code: 'listenFailed' });
    const late = net.connect({ port: entry.address.port, host: '127.0.0.1' });
    sockets.push(late);
    await expect(once(late, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});

describe('a session that binds', () => {
  test('has its visitors as sessions of the service, also while the service gives way', async () => {
    let bound!: Listening;
    const serving: Session[] = [];
    const handled = new Promise<void>((resolve) => {
      void start(() =>
        Promise.resolve({
          handle: async (end: End, session: Session) => {
            bound = await session.bind({ network: 'tcp', address: here }, async (visitor, own) => {
              serving.push(own);
              await shout(visitor);
            });
            resolve();
            await shout(end);
            await bound.close();
          },
        }),
      ).then(async ({ service }) => {
        const owner = await connect(service.address.port);
        owner.write('hello');
      });
    });
    await handled;
    const [service] = services;
    expect(await say(bound.address.port, 'one')).toBe('ONE');
    const retired = service!.retire();
    expect(await say(bound.address.port, 'two')).toBe('TWO');
    expect(new Set(serving.map(({ id }) => id)).size).toBe(2);
    expect(serving[1]).toMatchObject({ service: 's', stopping: true });
    sockets[0]!.end();
    await retired;
  });

  test('at an address that is taken is told so', async () => {
    const answered = new Promise<unknown>((resolve) => {
      void start(() =>
        Promise.resolve({
          handle: async (end: End, session: Session) => {
            const { local } = end;
            await session.bind({ network: 'tcp', address: local }, shout).catch(resolve);
            await shout(end);
          },
        }),
      ).then(({ service }) => say(service.address.port, ''));
    });
    expect(await answered).toMatchObject({ code: 'addressInUse' });
  });
});
