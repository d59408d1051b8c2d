import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { createAuthority } from '@sallyport/plugin/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { createLog } from '../../log/log.ts';
import { formatFindings } from '../../schema/report.ts';
import { loadConfig } from '../load.ts';
import { buildGraph } from './graph.ts';

let folder: string;
let origin: http.Server;
const closing: (() => unknown)[] = [];
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'sallyport-compat-'));
  origin = http.createServer((_request, response) => response.end('here')).listen(0, '127.0.0.1');
  await once(origin, 'listening');
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  origin.closeAllConnections();
  origin.close();
  rmSync(folder, { recursive: true });
});

/** Runs a configuration; answers the port of each service. */
async function run(config: object): Promise<readonly number[]> {
  const { config: read, report, tls } = await loadConfig([JSON.stringify(config)]);
  expect(formatFindings(report.errors)).toEqual([]);
  const graph = await buildGraph(read!, tls, createLog('fatal', true, { write: () => undefined }));
  closing.push(() => graph.close());
  return graph.listening.map(({ address }) => address.port);
}

/** The status of one request through the proxy at a port, or along a connection that is open; 0: it was cut. */
function ask(at: number | Duplex): Promise<number> {
  const { port } = origin.address() as AddressInfo;
  return new Promise((resolve) => {
    http
      .get({
        ...(typeof at === 'number'
          ? { host: '127.0.0.1', port: at, agent: false }
          : { createConnection: () => at as Socket }),
        path: `http://127.0.0.1:${String(port)}/`,
        headers: { host: `127.0.0.1:${String(port)}` },
      })
      .on('error', () => {
        resolve(0);
      })
      .on('response', (response) => response.resume().on('end', () => resolve(response.statusCode!)));
  });
}

const front = (further: object) => ({ name: 'front', addr: '127.0.0.1:0', ...further });

test('missingReferences: an auther that is not there lets everybody in, a chain that is not there is none', async () => {
  const services = [front({ handler: { type: 'http', auther: 'nobody', chain: 'nowhere' }, bypass: 'none' })];
  const { report } = await loadConfig([JSON.stringify({ services })]);
  expect(report.errors).toHaveLength(3);
  const [port] = await run({ services, compat: { missingReferences: true } });
  expect(await ask(port!)).toBe(200);
});

test('directWithoutNode: a hop that could not be asked is passed by', async () => {
  const config = {
    services: [front({ handler: { type: 'http', chain: 'out' } })],
    chains: [{ name: 'out', hops: [{ name: 'first', plugin: { addr: '127.0.0.1:1' } }] }],
  };
  expect(await ask((await run(config))[0]!)).toBe(503);
  expect(await ask((await run({ ...config, compat: { directWithoutNode: true } }))[0]!)).toBe(200);
});

test('unverifiedTls: a node is whoever answers', async () => {
  const { cert, key } = createAuthority().issue({ names: ['somebody.example'] });
  const [certFile, keyFile] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  const [node] = await run({
    services: [front({ handler: { type: 'http' }, listener: { type: 'tls', tls: { certFile, keyFile } } })],
  });
  const config = {
    services: [front({ handler: { type: 'http', chain: 'out' } })],
    chains: [
      {
        name: 'out',
        hops: [
          { name: 'first', nodes: [{ addr: `127.0.0.1:${String(node)}`, dialer: { type: 'tls', tls: {} } }] },
        ],
      },
    ],
  };
  expect(await ask((await run(config))[0]!)).toBe(503);
  expect(await ask((await run({ ...config, compat: { unverifiedTls: true } }))[0]!)).toBe(200);
});

test('headerAddresses: a websocket client is whoever its headers say', async () => {
  const config = {
    services: [front({ admission: 'one', handler: { type: 'http' }, listener: { type: 'ws' } })],
    admissions: [{ name: 'one', whitelist: true, matchers: ['203.0.113.7', '127.0.0.1'] }],
  };
  const come = async (port: number, address: string) => {
    const socket = new WebSocket(`ws://127.0.0.1:${String(port)}/ws`, {
      headers: { 'x-forwarded-for': `${address}, 198.51.100.1` },
    });
    socket.on('error', () => undefined);
    const stream = createWebSocketStream(socket).on('error', () => undefined);
    closing.push(() => {
      socket.terminate();
    });
    return ask(stream);
  };
  const [strict] = await run(config);
  expect(await come(strict!, '203.0.113.8')).toBe(200);
  const [port] = await run({ ...config, compat: { headerAddresses: true } });
  expect(await come(port!, '203.0.113.7')).toBe(200);
  expect(await come(port!, '203.0.113.8')).toBe(0);
});
