import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { createAuthority } from '@sallyport/plugin/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '../../log/log.ts';
import { formatFindings } from '../../schema/report.ts';
import { loadConfig } from '../load.ts';
import { buildGraph } from './graph.ts';

let folder: string;
let origin: http.Server;
const closing: (() => unknown)[] = [];
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'sallyport-graph-'));
  origin = http.createServer((_request, response) => response.end('here')).listen(0, '127.0.0.1');
  await once(origin, 'listening');
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  origin.closeAllConnections();
  origin.close();
  rmSync(folder, { recursive: true });
});

const portOf = (server: Server) => (server.address() as AddressInfo).port;
const silent = createLog('fatal', true, { write: () => undefined });
const front = (further: object) => ({ name: 'front', addr: '127.0.0.1:0', ...further });
/** A port at which nothing listens. */
const nobody = '127.0.0.1:1';

async function build(config: object) {
  const { config: read, report, tls: files } = await loadConfig([JSON.stringify(config)]);
  expect(formatFindings(report.errors)).toEqual([]);
  const graph = await buildGraph(read!, files, silent);
  closing.push(() => graph.close());
  return graph;
}

async function run(config: object): Promise<number> {
  return (await build(config)).listening[0]!.address.port;
}

/** The status of one request through the proxy at a port. */
function ask(port: number): Promise<number> {
  const host = `127.0.0.1:${String(portOf(origin))}`;
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port, agent: false, path: `http://${host}/`, headers: { host } })
      .on('error', reject)
      .on('response', (response) => response.resume().on('end', () => resolve(response.statusCode!)));
  });
}

test('an sni node reads the target from what is said to it', async () => {
  const node = await run({ services: [front({ handler: { type: 'sni' } })] });
  const chain = {
    name: 'out',
    hops: [{ name: 'h', nodes: [{ addr: `127.0.0.1:${String(node)}`, connector: { type: 'sni' } }] }],
  };
  const proxy = await run({
    services: [front({ handler: { type: 'http', chain: 'out' } })],
    chains: [chain],
  });
  expect(await ask(proxy)).toBe(200);
});

describe('a graph', () => {
  test('is all or nothing, and says where in the file the reason stands', async () => {
    const first = net.createServer().listen(0, '127.0.0.1');
    await once(first, 'listening');
    const free = portOf(first);
    first.close();
    await once(first, 'close');
    const config = {
      services: [
        { name: 'one', addr: `127.0.0.1:${String(free)}`, handler: { type: 'http' } },
        { name: 'two', addr: `127.0.0.1:${String(portOf(origin))}`, handler: { type: 'http' } },
      ],
    };
    await expect(build(config)).rejects.toMatchObject({
      code: 'addressInUse',
      message: expect.stringMatching(/^-C:1:\d+: two: /) as string,
    });
    const again = net.createServer().listen(free, '127.0.0.1');
    await once(again, 'listening');
    again.close();
  });

  test('names the plugin whose address is none', async () => {
    const authers = [{ name: 'a', plugin: { type: 'http', addr: 'no address' } }];
    await expect(
      build({ services: [front({ handler: { type: 'http', auther: 'a' } })], authers }),
    ).rejects.toMatchObject({
      message: expect.stringMatching(/^-C:1:\d+: authers\[0\]\.plugin\.addr: /) as string,
    });
  });
});

describe('a module that could not be asked', () => {
  test('a limiter lets everybody in, and nobody where the file says so', async () => {
    const limiting = (plugin: object) => ({
      services: [front({ limiter: 'l', handler: { type: 'http' } })],
      limiters: [{ name: 'l', plugin: { addr: nobody, ...plugin } }],
    });
    expect(await ask(await run(limiting({})))).toBe(200);
    expect(await ask(await run(limiting({ onError: 'refuse' })))).toBe(503);
  });

  test('a hop answers what the file says', async () => {
    const node = await run({ services: [front({ handler: { type: 'http' } })] });
    const chained = (plugin: object) => ({
      services: [front({ handler: { type: 'http', chain: 'c' } })],
      chains: [{ name: 'c', hops: [{ name: 'h', plugin: { addr: nobody, ...plugin } }] }],
    });
    expect(await ask(await run(chained({})))).toBe(503);
    const onError = { reply: { addr: `127.0.0.1:${String(node)}` } };
    expect(await ask(await run(chained({ onError })))).toBe(200);
    // What the node's `tls` names is read as in a file: without the authority nobody would know whom we believe.
    const caFile = path.join(folder, 'none.pem');
    const unreadable = { addr: `127.0.0.1:${String(node)}`, connector: { type: 'http', tls: { caFile } } };
    expect(await ask(await run(chained({ onError: { reply: unreadable } })))).toBe(503);
  });
});

test('whom the file believes at its top is whom a listener without a certificate demands', async () => {
  const authority = createAuthority();
  const { cert, key } = authority.issue({ names: ['localhost'] });
  const [certFile, keyFile, caFile] = ['cert', 'key', 'ca'].map((name) => path.join(folder, `${name}.pem`));
  writeFileSync(certFile!, cert);
  writeFileSync(keyFile!, key);
  writeFileSync(caFile!, authority.cert);
  const port = await run({
    tls: { certFile, keyFile, caFile },
    services: [front({ handler: { type: 'http' }, listener: { type: 'tls' } })],
  });
  const shake = (mine: object) =>
    new Promise<string>((resolve) => {
      const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...mine });
      closing.push(() => socket.destroy());
      socket.on('error', () => resolve('refused')).on('close', () => resolve('refused'));
      socket.on('data', () => resolve('served'));
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    });
  expect(await shake({})).toBe('refused');
  expect(await shake({ cert, key })).toBe('served');
});

test('a dial timeout of 0 is the default', async () => {
  expect(
    await ask(await run({ services: [front({ handler: { type: 'http' }, metadata: { dialTimeout: 0 } })] })),
  ).toBe(200);
});
