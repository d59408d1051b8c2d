import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '../log/log.ts';
import { loadConfig } from './load.ts';
import { startRunning } from './reload.ts';
import type { Running } from './reload.ts';

let folder: string;
let origin: http.Server;
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'sallyport-reload-'));
  origin = http.createServer((_request, response) => response.end('here'));
  origin.listen(0, '127.0.0.1');
  await once(origin, 'listening');
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  origin.closeAllConnections();
  origin.close();
  rmSync(folder, { recursive: true });
});

const originPort = () => (origin.address() as AddressInfo).port;

/** Runs what a file says; `lines` is the log, and `said` waits for a line of it. */
async function run(text: string) {
  const file = path.join(folder, 'gost.yml');
  const write = (now: string) => {
    // As programs do that do not want half a file to be read.
    writeFileSync(`${file}.new`, now);
    renameSync(`${file}.new`, file);
  };
  write(text);
  const lines: string[] = [];
  let heard = () => {};
  const log = createLog('info', false, {
    write(line) {
      lines.push((JSON.parse(line) as { msg: string }).msg);
      heard();
    },
  });
  const load = () => loadConfig([file]);
  const running = await startRunning(await load(), { load, log });
  closing.push(() => running.close());
  const said = async (pattern: RegExp) => {
    while (!lines.some((line) => pattern.test(line))) {
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
  };
  return { running, write, lines, said, file, port: portOf(running) };
}

function portOf(running: Running, service = 'front'): number {
  return running.graph.listening.find((one) => one.service === service)!.address.port;
}

const config = (password: string, further = '') => `services:
- name: front
  addr: 127.0.0.1:0
${further}  handler:
    type: http
    auth: { username: me, password: ${password} }
`;

/** The status of one request on a connection of its own, or on one of `agent`. */
function ask(port: number, password: string, agent: http.Agent | false = false): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.get({
      ...{ host: '127.0.0.1', port, agent, path: `http://127.0.0.1:${String(originPort())}/` },
      headers: { 'proxy-authorization': `Basic ${Buffer.from(`me:${password}`).toString('base64')}` },
    });
    request.on('error', reject).on('response', (response) => {
      response.resume().on('end', () => resolve(response.statusCode!));
    });
  });
}

/** A tunnel to the origin that is open. */
async function tunnel(port: number, password: string): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1');
  closing.push(() => socket.destroy());
  const credentials = Buffer.from(`me:${password}`).toString('base64');
  socket.write(
    `CONNECT 127.0.0.1:${String(originPort())} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 200/);
  return socket;
}

describe('another configuration', () => {
  test('counts for new connections at the same port, and those that are open go on', async () => {
    const { running, write, port, lines } = await run(config('old'));
    const open = await tunnel(port, 'old');
    expect(await ask(port, 'old')).toBe(200);
    write(config('new'));
    await running.reload('SIGHUP');
    expect(portOf(running)).toBe(port);
    expect(await ask(port, 'old')).toBe(407);
    expect(await ask(port, 'new')).toBe(200);
    open.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const [answer] = (await once(open, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(lines.filter((line) => /listening/.test(line))).toHaveLength(1);
    expect(lines).toContain('reloaded; connections of the configuration before go on until they end');
  });

  test('a kept connection is served its next request, and is then asked to go', async () => {
    const { running, write, port } = await run(config('old'));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    closing.push(() => {
      agent.destroy();
    });
    let connections = 0;
    const create = agent.createConnection.bind(agent);
    agent.createConnection = (...args: Parameters<typeof create>) => {
      connections++;
      return create(...args);
    };
    expect(await ask(port, 'old', agent)).toBe(200);
    write(config('new'));
    await running.reload('SIGHUP');
    // The connection was made under the configuration before, and goes on under it for this one.
    expect(await ask(port, 'old', agent)).toBe(200);
    expect(connections).toBe(1);
    expect(await ask(port, 'old', agent)).toBe(407);
    expect(connections).toBe(2);
  });

  test('refuses nobody in many reloads', async () => {
    const { running, write, port } = await run(config('me'));
    const answers: number[] = [];
    let over = false;
    const users = Array.from({ length: 4 }, async () => {
      while (!over) answers.push(await ask(port, 'me'));
    });
    for (let count = 0; count < 10; count++) {
      write(`${config('me')}# ${String(count)}\n`);
      await running.reload('SIGHUP');
    }
    over = true;
    await Promise.all(users);
    expect(answers.length).toBeGreaterThan(10);
    expect(new Set(answers)).toEqual(new Set([200]));
  });

  test('services come and go', async () => {
    const { running, write, port } = await run(config('me'));
    const other = `- { name: other, addr: "127.0.0.1:0", handler: { type: http } }\n`;
    write(config('me') + other);
    await running.reload('SIGHUP');
    const second = portOf(running, 'other');
    expect(await ask(second, 'anything')).toBe(200);
    expect(await ask(port, 'me')).toBe(200);
    write(`services:\n${other}`);
    await running.reload('SIGHUP');
    await expect(ask(port, 'me')).rejects.toThrow(/ECONNREFUSED/);
    expect(await ask(second, 'anything')).toBe(200);
  });

  test('a connection limiter goes on with what it has counted, and its limits are the new ones', async () => {
    const limited = (most: number) =>
      `${config('me', '  climiter: few\n')}climiters:\n- { name: few, limits: ["$ ${String(most)}"] }\n`;
    const { running, write, port } = await run(limited(1));
    await tunnel(port, 'me');
    await expect(ask(port, 'me')).rejects.toThrow();
    write(`${limited(1)}# again\n`);
    await running.reload('SIGHUP');
    await expect(ask(port, 'me')).rejects.toThrow();
    write(limited(2));
    await running.reload('SIGHUP');
    expect(await ask(port, 'me')).toBe(200);
  });
});

describe('what is wrong changes nothing', () => {
  test('a mistake is logged with its place', async () => {
    const { running, write, port, lines, file } = await run(config('me'));
    write(config('me').replace('type: http', 'type: htpp'));
    await running.reload('SIGHUP');
    expect(lines.at(-2)).toMatch(
      `${file}:5:11: services[0].handler.type: unknown handler type \`htpp\`; did you mean \`http\`?`,
    );
    expect(lines.at(-1)).toBe('not reloaded: the configuration that runs goes on');
    expect(await ask(port, 'me')).toBe(200);
  });

  test('a port that cannot be had leaves everything as it was', async () => {
    const { running, write, port, lines, file } = await run(config('old'));
    const other = `- { name: other, addr: "127.0.0.1:0", handler: { type: http } }\n`;
    const busy = `- { name: busy, addr: "127.0.0.1:${String(originPort())}", handler: { type: http } }\n`;
    write(config('new') + other + busy);
    await running.reload('SIGHUP');
    expect(lines.at(-2)).toBe(
      `${file}:8:23: busy: 127.0.0.1:${String(originPort())} is in use by another program`,
    );
    expect(await ask(port, 'old')).toBe(200);
    expect(await ask(port, 'new')).toBe(407);
    expect(running.graph.listening).toHaveLength(1);
    // And it can still be changed.
    write(config('new'));
    await running.reload('SIGHUP');
    expect(await ask(port, 'new')).toBe(200);
  });

  test('an address that overlaps one that is served says so', async () => {
    const { running, write, port, lines } = await run(config('me'));
    const fixed = (host: string) => config('me').replace('127.0.0.1:0', `"${host}:${String(port)}"`);
    write(fixed('0.0.0.0'));
    await running.reload('SIGHUP');
    expect(lines.at(-2)).toMatch(/is still listened at, at another address, by the configuration that runs/);
    expect(await ask(port, 'me')).toBe(200);
  });
});

describe('when it is read again', () => {
  test('a file that has changed is noticed; one that was only touched is not', async () => {
    const { running, write, port, lines, said } = await run(config('old'));
    await running.reloadIfChanged('-R');
    write(config('old'));
    await running.reloadIfChanged('-R');
    expect(lines.some((line) => line.startsWith('reloading'))).toBe(false);
    write(config('new'));
    await said(/^reloaded/);
    expect(lines).toContain('reloading: a file has changed');
    expect(await ask(port, 'new')).toBe(200);
  });

  test('after the end nothing is', async () => {
    const { running, write, lines } = await run(config('old'));
    await running.stop();
    write(config('new'));
    await running.reload('SIGHUP');
    expect(lines.some((line) => line.startsWith('reloading'))).toBe(false);
  });

  test('connections of a configuration before are waited for at the end, and cut when asked', async () => {
    const { running, write, port } = await run(config('old'));
    const open = await tunnel(port, 'old');
    write(config('new'));
    await running.reload('SIGHUP');
    let stopped = false;
    const stopping = running.stop().then(() => (stopped = true));
    await expect(ask(port, 'new')).rejects.toThrow(/ECONNREFUSED/);
    expect(stopped).toBe(false);
    const closed = new Promise((resolve) => open.on('error', () => undefined).on('close', resolve));
    await running.close();
    await closed;
    await stopping;
  });
});
