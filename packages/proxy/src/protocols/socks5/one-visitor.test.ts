import { expect, test } from 'vitest';
import type { Conn, End } from '../../core/conn.ts';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import { readAll } from '../../core/mux/mux-pair.fixture.ts';
import type { ServeVisitor } from '../../core/protocol.ts';
import { relay } from '../../core/relay.ts';
import type { Session } from '../../core/session.ts';
import { formatSocks5Reply } from '../../wire/socks5.ts';
import { serveOneVisitor } from './one-visitor.ts';

const address = { host: '127.0.0.1', port: 2121 };

/** A client that waits for a visitor from `from`, on sockets of memory. */
function scene(from: string | undefined, granted = () => Promise.resolve()) {
  let each: ServeVisitor | undefined;
  const visitor = {
    network: 'tcp',
    limit: () => Promise.resolve(),
    note: () => undefined,
    relay: (client: End, upstream: End) => relay(client as Conn, upstream as Conn),
  } as unknown as Session;
  const session = {
    bind: (_request, serve) => {
      each = serve;
      const close = () => Promise.resolve(void (each = undefined));
      return Promise.resolve({ address, close });
    },
    onStopping: () => () => undefined,
  } as Partial<Session> as Session;
  const [conn, client] = memoryConnPair();
  const over = serveOneVisitor(conn, session, { address, granted, ...(from !== undefined && { from }) });
  return {
    client,
    over,
    isListening: () => each !== undefined,
    /** Somebody comes; answers their end. */
    come(host: string, port: number): Conn {
      const [end, peer] = memoryConnPair({ ends: [{ remote: { host, port } }, {}] });
      void each!(end, visitor).catch(() => end.reset());
      return peer;
    },
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('only the host that was named is let in, by whatever port it comes', async () => {
  const { client, over, come, isListening } = scene('192.0.2.7');
  await turn();
  await come('192.0.2.8', 20).closed;
  expect(client.bufferedBytes).toBe(0);
  const wanted = come('192.0.2.7', 20);
  const reply = formatSocks5Reply(0, { host: '192.0.2.7', port: 20 });
  expect(await client.read()).toEqual(reply);
  expect(isListening()).toBe(false);
  await wanted.write(Buffer.from('file'));
  await wanted.end();
  expect(String(await readAll(client))).toBe('file');
  await client.end();
  expect(await readAll(wanted)).toEqual(Buffer.alloc(0));
  expect(await over).toBeUndefined();
});

test('of two who come at once one is let in', async () => {
  const { client, come, over } = scene(undefined);
  await turn();
  const both = [come('192.0.2.7', 1), come('192.0.2.7', 2)];
  await both[1]!.closed;
  await client.read();
  await both[0]!.write(Buffer.from('first'));
  expect(String(await client.read())).toBe('first');
  client.reset();
  await both[0]!.closed;
  expect(await over).toMatchObject({ code: 'clientClosed' });
});

test('who comes before the client is told waits, and goes where it cannot be told', async () => {
  let refuse!: (error: Error) => void;
  const { come, over, isListening } = scene(undefined, () => new Promise((_, reject) => (refuse = reject)));
  await turn();
  const early = come('192.0.2.7', 1);
  refuse(new Error('gone'));
  await expect(over).rejects.toThrow('gone');
  await early.closed;
  expect(isListening()).toBe(false);
});
