// Clients of a tunnel's node that mean it ill, byte by byte: the program as the server, and what it costs it.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { smuxFrame } from '../../src/core/mux/mux-raw.fixture.ts';
import { formatRelayRequest, parseRelayResponse } from '../../src/wire/relay.ts';
import type { RelayFeature } from '../../src/wire/relay-features.ts';
import type { Program } from '../program.ts';
import { countOf, get, ids, Scene, seen, until } from './scene.ts';

const scene = new Scene();
afterEach(() => scene.close());

const registered = /tunnel [\da-f-]{36} as/;
const at = (port: number) => `127.0.0.1:${String(port)}`;
const mebibyte = 1024 * 1024;
const tunnelOf = (id: string): RelayFeature => ({ type: 'tunnel', id, flags: 0, weight: 0 });

/** A server, and an honest client of the tunnel behind web.test. The tunnel behind db.test is the others'. */
async function server(more = '') {
  const [port, entrypoint] = [await scene.port(), await scene.port()];
  const rules = `web.test:${ids.web},db.test:${ids.db}`;
  const url = `tunnel+tcp://${at(port)}?entrypoint=${at(entrypoint)}&tunnel=${rules}${more}`;
  const program = scene.run('-L', url);
  await program.line(/service-0 listening on/);
  const honest = scene.run(
    ...['-L', `rtcp://:0/${at(await scene.web('web'))}`],
    ...['-F', `tunnel://${at(port)}?tunnel.id=${ids.web}`],
  );
  await honest.line(registered);
  return { program, port, entrypoint };
}

/** What the program holds of the machine's memory, in bytes. */
function memoryOf({ process: { pid } }: Program): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${String(pid)}/status`, 'latin1'))![1]) * 1024;
}

function dial(port: number): net.Socket {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true }).on('error', () => undefined);
  return scene.add(socket, (open) => open.destroy());
}

const closing = (socket: net.Socket) => new Promise<void>((resolve) => socket.on('close', () => resolve()));

/** A connection that has registered as a connector of the tunnel behind db.test; whatever more it says is up to the test. */
async function register(port: number): Promise<net.Socket> {
  const socket = dial(port);
  socket.write(
    formatRelayRequest({
      command: 2,
      flags: 0,
      features: [
        { type: 'addr', address: { host: '127.0.0.1', port: 1 } },
        { type: 'addr', address: { host: '0.0.0.0', port: 0 } },
        tunnelOf(ids.db),
      ],
    }),
  );
  let answer = Buffer.alloc(0);
  while (parseRelayResponse(answer) === undefined) {
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    answer = Buffer.concat([answer, bytes]);
  }
  expect(answer[1]).toBe(0);
  return socket;
}

/** The others are served as if nothing were. */
async function expectService(entrypoint: number): Promise<void> {
  const since = performance.now();
  expect(await seen(entrypoint, 'web.test')).toBe('200 web saw GET web.test/');
  expect(performance.now() - since).toBeLessThan(3000);
}

describe('a connector', () => {
  test('that never reads holds up its own visitors, who cost bounded memory, and nobody else', async () => {
    const { program, port, entrypoint } = await server();
    const connector = await register(port);
    connector.pause();
    await expectService(entrypoint);
    const before = memoryOf(program);
    // Each says that it sends 64 MiB, and sends as long as it is let.
    const visitors = Array.from({ length: 20 }, () => {
      const request = http.request({
        ...{ host: '127.0.0.1', port: entrypoint, method: 'POST', agent: false },
        headers: { host: 'db.test', 'content-length': 64 * mebibyte },
      });
      let sent = 0;
      const more = () => {
        while (sent < 64 && request.write(Buffer.alloc(mebibyte))) sent++;
        sent++;
      };
      request.on('error', () => undefined).on('drain', more);
      more();
      return { request, sent: () => sent };
    });
    let last = -1;
    await until(() => {
      const now = visitors.reduce((sum, { sent }) => sum + sent(), 0);
      const isHeldUp = now === last;
      last = now;
      return new Promise((resolve) => setTimeout(resolve, 300, isHeldUp));
    }, 'a standstill');
    expect(last).toBeLessThan(20 * 64);
    expect(memoryOf(program) - before).toBeLessThan(200 * mebibyte);
    await expectService(entrypoint);
    for (const { request } of visitors) request.destroy();
    connector.destroy();
    await until(async () => (await seen(entrypoint, 'db.test')) === '503', 'that nobody is there');
  });

  test('that opens streams, or none that are its own, is cut', async () => {
    const { port, entrypoint } = await server();
    const flood = await register(port);
    const over = closing(flood);
    flood.resume();
    for (let sent = 0; sent < 40 && !flood.destroyed; sent++) {
      const frames = Array.from({ length: 100 }, (_, index) =>
        smuxFrame(2, 'syn', 2 * (100 * sent + index) + 2),
      );
      flood.write(Buffer.concat(frames));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await over;
    const liar = await register(port);
    const cut = closing(liar);
    liar.resume().write(smuxFrame(2, 'syn', 1));
    await cut;
    await expectService(entrypoint);
  });

  test.each([
    ['another version', smuxFrame(1, 'nop', 0)],
    ['no mux at all', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a frame of another length than it has', Buffer.from([2, 0, 0xff, 0xff, 1, 0, 0, 0])],
  ])('that speaks %s is cut, and its visitor is told', async (_, bytes) => {
    const { port, entrypoint } = await server();
    const connector = await register(port);
    const visiting = get(entrypoint, 'db.test');
    visiting.catch(() => undefined);
    // The node's first words, or the visitor's.
    await once(connector, 'data');
    const over = closing(connector);
    connector.resume().write(bytes);
    await over;
    expect([502, 503]).toContain((await visiting).status);
    expect(await seen(entrypoint, 'db.test')).toBe('503');
    await expectService(entrypoint);
  });

  test('that ends each visit at once costs its visitors an answer, and is cut for none of it', async () => {
    const { port, entrypoint } = await server();
    const connector = await register(port);
    let held = Buffer.alloc(0);
    connector.on('data', (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      while (held.length >= 8 && held.length >= 8 + held.readUInt16LE(2)) {
        if (held[1] === 0) connector.write(smuxFrame(2, 'fin', held.readUInt32LE(4)));
        held = held.subarray(8 + held.readUInt16LE(2));
      }
    });
    const statuses = await Promise.all(
      Array.from({ length: 50 }, async () => (await get(entrypoint, 'db.test')).status),
    );
    expect(new Set(statuses)).toEqual(new Set([502]));
    await expectService(entrypoint);
    expect(connector.destroyed).toBe(false);
  });
});

describe('a client', () => {
  test('that registers and leaves as fast as it can leaves nothing', async () => {
    const { program, port, entrypoint } = await server('&tunnel.ttl=1s');
    const round = async (count: number) => {
      for (let done = 0; done < count; done += 20) {
        const some = await Promise.all(Array.from({ length: 20 }, () => register(port)));
        for (const socket of some) socket.destroy();
      }
    };
    await round(400);
    const before = memoryOf(program);
    await round(1200);
    expect(memoryOf(program) - before).toBeLessThan(60 * mebibyte);
    await until(async () => (await seen(entrypoint, 'db.test')) === '503', 'that nobody is there');
    await expectService(entrypoint);
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a part of a request', Buffer.from([1, 2, 0xff, 0xff, 2])],
  ])('that says %s is not waited for for ever', async (_, bytes) => {
    const { program, port, entrypoint } = await server('&readTimeout=1s');
    const sockets = Array.from({ length: 50 }, () => dial(port));
    for (const socket of sockets) socket.resume().write(bytes);
    await Promise.all(sockets.map(closing));
    await program.line(/did not say what it wants within 1 s/);
    await expectService(entrypoint);
  });

  test.each<[string, RelayFeature[]]>([
    ['no tunnel', []],
    ['a tunnel of zeros', [tunnelOf('00000000-0000-0000-0000-000000000000')]],
    ['two tunnels', [tunnelOf(ids.db), tunnelOf(ids.web)]],
  ])('that names %s is told so', async (_, features) => {
    const { port } = await server();
    const socket = dial(port);
    socket.write(formatRelayRequest({ command: 2, flags: 0, features }));
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect([...answer]).toEqual([1, 1, 0, 0]);
  });
});

describe('visitors of an entrypoint', () => {
  test('who say nothing, or little by little, are not waited for for ever', async () => {
    const { program, entrypoint } = await server('&entrypoint.readTimeout=1s');
    const silent = Array.from({ length: 200 }, () => dial(entrypoint).resume());
    const slow = Array.from({ length: 20 }, () => dial(entrypoint).resume());
    const dripping = setInterval(() => {
      for (const socket of slow) if (socket.writable) socket.write('G');
    }, 100);
    await Promise.all([...silent, ...slow].map(closing));
    clearInterval(dripping);
    await expectService(entrypoint);
    expect(countOf(program, /"level":"(error|fatal)"/)).toBe(0);
  });

  test('who send a head without an end are told so', async () => {
    const { program, entrypoint } = await server();
    const before = memoryOf(program);
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const socket = dial(entrypoint);
        const over = closing(socket);
        let text = '';
        socket.setEncoding('latin1').on('data', (some: string) => (text += some));
        socket.write('GET / HTTP/1.1\r\nHost: web.test\r\n');
        for (let sent = 0; sent < 64 && socket.writable && text === ''; sent++) {
          socket.write(`X-${String(sent)}: ${'x'.repeat(16_000)}\r\n`);
          await new Promise((resolve) => setImmediate(resolve));
        }
        await over;
        return text.slice(0, 12);
      }),
    );
    for (const answer of answers) expect(['HTTP/1.1 431', '']).toContain(answer);
    expect(answers).toContain('HTTP/1.1 431');
    expect(memoryOf(program) - before).toBeLessThan(60 * mebibyte);
    await expectService(entrypoint);
  });
});
