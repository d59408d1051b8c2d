import { afterEach, describe, expect, test } from 'vitest';
import { createDatagramInbox } from '../../core/datagrams.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import type { Way } from '../../core/way.ts';
import { Cleanup, connectPeer, startForward, startOrigin } from './forward.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

describe('without sniffing', () => {
  test('bytes go both ways, and each way ends by itself', async () => {
    const origin = await startOrigin(cleanup);
    const proxy = await startForward(cleanup, [{ port: origin.port, name: 'a' }]);
    const client = await connectPeer(cleanup, proxy.port);
    const server = await origin.next();
    server.say('220 ready\r\n');
    await client.take('ready\r\n');
    client.socket.end('GET / HTTP/1.0\r\n\r\n');
    expect(await server.all()).toBe('GET / HTTP/1.0\r\n\r\n');
    server.socket.end('bye');
    expect(await client.all()).toBe('bye');
    const served = await proxy.event('served');
    expect(served).toMatchObject({ what: `forward a@127.0.0.1:${String(origin.port)}`, error: undefined });
    expect(served.details).toEqual({ node: 'a' });
    const closed = await proxy.event('closed');
    expect(closed.error).toBeUndefined();
    expect(closed.path).toEqual([expect.stringMatching(/^a\b/)]);
  });

  test('a node that is down ends the connection, and says so', async () => {
    const origin = await startOrigin(cleanup);
    const { port } = origin;
    await cleanup.run();
    const proxy = await startForward(cleanup, [{ port }]);
    const client = await connectPeer(cleanup, proxy.port);
    await client.all();
    expect((await proxy.event('closed')).error).toMatchObject({ code: 'dialFailed' });
  });
});

/** One peer's datagrams, by hand. */
function fakeDatagrams(remote = { host: '192.0.2.9', port: 9 }) {
  const inbox = createDatagramInbox();
  const sent: string[] = [];
  let end!: () => void;
  const closed = new Promise<void>((resolve) => (end = resolve));
  const end9: Datagrams = {
    kind: 'datagrams',
    local: { host: '127.0.0.1', port: 53 },
    remote,
    receive: (each) => inbox.receive(each),
    send(data) {
      sent.push(Buffer.from(data).toString());
      return true;
    },
    close: () => end(),
    closed,
  };
  return { end: end9, sent, say: (text: string) => inbox.deliver(Buffer.from(text), remote), closed };
}

describe('datagrams', () => {
  test('of a peer go to the node and back until nothing comes any more', async () => {
    const node = fakeDatagrams({ host: '127.0.0.1', port: 5353 });
    const client = fakeDatagrams();
    let accept!: (end: Datagrams) => void;
    const asked: unknown[] = [];
    const base: Way = {
      dial: () => Promise.reject(new Error('no connections here')),
      packets(to) {
        asked.push(to);
        return Promise.resolve(node.end);
      },
      listen(at, accepting) {
        accept = accepting;
        return Promise.resolve({ address: at, close: () => Promise.resolve() });
      },
      close: () => Promise.resolve(),
    };
    const proxy = await startForward(
      cleanup,
      [{ port: 5353 }],
      { idleTimeoutMs: 100 },
      { base, direct: base },
    );
    client.say('one');
    accept(client.end);
    await proxy.event('dialed');
    client.say('two');
    node.say('answer');
    await client.closed;
    expect(asked).toEqual([{ host: '127.0.0.1', port: 5353 }]);
    expect(node.sent).toEqual(['one', 'two']);
    expect(client.sent).toEqual(['answer']);
    await node.closed;
  });
});
