import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Conn } from '../../core/conn.ts';
import { tcp } from './index.ts';

const way = tcp.wrap(undefined, { metadata: {} });
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const signal = () => new AbortController().signal;
const problem = (error: Error) => {
  throw error;
};

async function listen(host = '127.0.0.1') {
  const accepted: Conn[] = [];
  let arrived: (conn: Conn) => void = () => undefined;
  const listening = await way.listen!(
    { host, port: 0 },
    (conn) => {
      if (conn.kind !== 'stream') throw new Error('TCP accepts connections');
      accepted.push(conn);
      arrived(conn);
    },
    problem,
  );
  closing.push(
    () => listening.close(),
    () => accepted.map((conn) => conn.reset()),
  );
  return { ...listening, next: () => new Promise<Conn>((resolve) => (arrived = resolve)) };
}

describe('TCP', () => {
  test('listens, is dialled, and both ends know who they are', async () => {
    const { address, next } = await listen();
    const arriving = next();
    const conn = await way.dial(address, { signal: signal() });
    closing.push(() => conn.reset());
    const other = await arriving;
    expect(conn.remote).toEqual(address);
    expect(other.remote).toEqual(conn.local);
    await conn.write(Buffer.from('x'));
    expect(String(await other.read())).toBe('x');
  });

  test('an empty host is every address; a client over IPv4 has a plain one', async () => {
    const { address, next } = await listen('');
    const arriving = next();
    const conn = await way.dial({ host: '127.0.0.1', port: address.port }, { signal: signal() });
    closing.push(() => conn.reset());
    expect((await arriving).remote.host).toBe('127.0.0.1');
  });

  test('a name is looked up, and the address that answers wins', async () => {
    // `localhost` has both families nearly everywhere, and only one of them listens here.
    const { address, next } = await listen();
    const arriving = next();
    const conn = await way.dial({ host: 'localhost', port: address.port }, { signal: signal() });
    closing.push(() => conn.reset());
    await arriving;
    expect(conn.remote.host).toBe('127.0.0.1');
  });

  test('what cannot be dialled says why', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    await expect(way.dial({ host: '127.0.0.1', port }, { signal: signal() })).rejects.toMatchObject({
      code: 'dialFailed',
      at: 'upstream',
      retryable: true,
      message: `nothing listens at 127.0.0.1:${String(port)} (connection refused)`,
    });
    await expect(
      way.dial({ host: 'no-such-name.invalid', port: 1 }, { signal: signal() }),
    ).rejects.toMatchObject({ code: 'nameNotFound', at: 'upstream' });
  });

  test('whoever leaves cancels the dial', async () => {
    const early = AbortSignal.abort();
    await expect(way.dial({ host: '127.0.0.1', port: 1 }, { signal: early })).rejects.toMatchObject({
      code: 'clientClosed',
    });
    const controller = new AbortController();
    // TEST-NET-1 (RFC 5737): nobody answers, or the network says at once that there is no way.
    const dialling = way.dial({ host: '192.0.2.1', port: 1 }, { signal: controller.signal });
    controller.abort();
    await expect(dialling).rejects.toMatchObject({
      code: expect.stringMatching(/clientClosed|dialFailed/) as string,
    });
  });

  test('a port that is taken says so; a closed listener gives it back while connections live on', async () => {
    const first = await listen();
    const arriving = first.next();
    const conn = await way.dial(first.address, { signal: signal() });
    closing.push(() => conn.reset());
    const other = await arriving;
    await expect(way.listen!(first.address, () => undefined, problem)).rejects.toMatchObject({
      code: 'addressInUse',
      message: `127.0.0.1:${String(first.address.port)} is in use by another program`,
    });
    await expect(way.listen!({ host: '192.0.2.1', port: 0 }, () => undefined, problem)).rejects.toMatchObject(
      {
        code: 'listenFailed',
      },
    );
    await first.close();
    await first.close();
    await conn.write(Buffer.from('alive'));
    expect(String(await other.read())).toBe('alive');
    const again = await way.listen!(first.address, () => undefined, problem);
    await again.close();
  });
});
