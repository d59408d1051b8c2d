import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer, startOrigin, startProxy } from './proxy.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const basic = (credentials: string) =>
  `Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}\r\n`;
const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`;

/** An auther that knows everybody whose password is their name, and remembers what it was asked. */
async function scene() {
  const asked: string[] = [];
  const origin = await startOrigin(cleanup);
  const proxy = await startProxy(cleanup, ({ username, password }) => {
    asked.push(`${username}:${password}`);
    return { ok: username !== '' && username === password, user: `id-${username}` };
  });
  const client = await connectPeer(cleanup, proxy.port);
  const get = (path: string, fields: string) =>
    client.say(`GET http://127.0.0.1:${String(origin.port)}${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`);
  return { asked, origin, proxy, client, get };
}

describe('on a kept connection', () => {
  test('what was accepted is not asked again, and everything else is', async () => {
    const { asked, origin, proxy, client, get } = await scene();
    get('/1', basic('ada:ada'));
    const first = await origin.next();
    await first.head();
    first.say(ok('1'));
    await client.take('\r\n\r\n1');
    get('/2', basic('ada:ada'));
    await first.head();
    first.say(ok('2'));
    await client.take('\r\n\r\n2');
    expect(asked).toEqual(['ada:ada']);

    // Another user: asked, and given an origin connection that is not the first user's.
    get('/3', basic('grace:grace'));
    const second = await origin.next();
    expect(await second.head()).not.toMatch(/proxy-authorization/i);
    second.say(ok('3'));
    await client.take('\r\n\r\n3');
    expect(await first.all()).toBe('');

    // The first user once more: this is not what was accepted last.
    get('/4', basic('ada:ada'));
    (await origin.next()).say(ok('4'));
    await client.take('\r\n\r\n4');
    expect(asked).toEqual(['ada:ada', 'grace:grace', 'ada:ada']);

    const users = proxy.events.filter((event) => event.kind === 'served').map(({ user }) => user);
    expect(users).toEqual(['id-ada', 'id-ada', 'id-grace', 'id-ada']);
  });

  test('without a value, or with a wrong one, nobody goes on as who they were', async () => {
    const { asked, origin, proxy, client, get } = await scene();
    get('/1', basic('ada:ada'));
    (await origin.next()).say(ok('1'));
    await client.take('\r\n\r\n1');
    for (const fields of ['', basic('ada:wrong'), 'Proxy-Authorization: Basic !!\r\n']) {
      get('/secret', fields);
      const reply = await client.head();
      expect(reply).toMatch(/^HTTP\/1\.1 407 /);
      expect(reply).not.toMatch(/^Connection: close/m);
      await client.take(')\n');
    }
    expect(asked).toEqual(['ada:ada', ':', 'ada:wrong', ':']);
    expect(origin.peers).toHaveLength(1);
    expect(origin.peers[0]!.text).not.toMatch(/secret/);
    const { length } = proxy.events.filter((event) => event.kind === 'decided');
    expect(length).toBe(4);
    get('/2', basic('ada:ada'));
    await origin.peers[0]!.take('GET /2 ');
  });

  test('a body that came with a refused request is not taken for the next one', async () => {
    const { asked, origin, client } = await scene();
    const hidden = `GET http://127.0.0.1:${String(origin.port)}/ HTTP/1.1\r\nHost: x\r\n${basic('ada:ada')}\r\n`;
    client.say(
      `POST http://127.0.0.1:${String(origin.port)}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${String(hidden.length)}\r\n\r\n${hidden}`,
    );
    expect(await client.all()).toMatch(/^HTTP\/1\.1 407 .*\r\n(.*\r\n)*Connection: close\r\n/);
    client.socket.end();
    expect(asked).toEqual([':']);
    expect(origin.peers).toHaveLength(0);
  });

  test('two values are malformed; HEAD gets no body', async () => {
    const { client, proxy, asked } = await scene();
    client.say(`HEAD http://x.test/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(await client.head()).toMatch(/^HTTP\/1\.1 407 .*\r\n(.*\r\n)*Content-Length: [1-9]/);
    client.say(`GET http://x.test/ HTTP/1.1\r\nHost: x\r\n${basic('ada:ada')}${basic('b:b')}\r\n`);
    expect(await client.all()).toMatch(/^HTTP\/1\.1 400 /);
    client.socket.end();
    expect(asked).toEqual([':']);
    await proxy.event('closed');
  });
});

describe('what counts as credentials', () => {
  test.each([
    [`Basic ${Buffer.from('ü:pä:ss').toString('base64')}`, 'ü', 'pä:ss'],
    [`basic   ${Buffer.from('a:').toString('base64')}`, 'a', ''],
    [`Basic ${Buffer.from('no colon').toString('base64')}`, '', ''],
    [`Basic ${Buffer.from([0xff, 0x3a, 0x61]).toString('base64')}`, '', ''],
    ['Bearer abc', '', ''],
    ['Basic', '', ''],
    ['Basic a b', '', ''],
  ])('%s', async (value, username, password) => {
    const { client, get, proxy, asked } = await scene();
    get('/', `Proxy-Authorization: ${value}\r\n`);
    await client.head();
    const decided = await proxy.event('decided');
    expect(decided).toMatchObject({ module: 'auth', about: username });
    expect(asked).toEqual([`${username}:${password}`]);
  });
});
