import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { crc32 } from 'node:zlib';
import { createAuthority } from '@sallyport/plugin/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
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

/** As GOST's clients write it. */
function gostName(name: string, checksum = crc32(name)): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(checksum);
  const inner = Buffer.from(name).toString('base64url');
  return Buffer.concat([bytes, Buffer.from(inner)]).toString('base64url');
}

/** An origin that answers each request with what it was asked, and with which fields of GOST. */
async function echo(): Promise<number> {
  const server = http.createServer(({ headers, url }, response) => {
    const gost = Object.keys(headers).filter((name) => name.includes('gost'));
    response.end(`${headers.host ?? ''}${url ?? ''} ${gost.join()}`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** What the echo behind a proxy says to one request with these fields, or the status where that is not 200. */
function askEcho(proxy: number, target: string, headers: http.OutgoingHttpHeaders): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ ...{ host: '127.0.0.1', port: proxy, agent: false, headers }, path: `http://${target}/x` })
      .on('error', reject)
      .on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => resolve(response.statusCode === 200 ? text : String(response.statusCode)));
      });
  });
}

describe('gostTarget: a request goes where its header says', () => {
  const services = [
    front({ handler: { type: 'http' }, bypass: 'none' }),
    { ...front({ handler: { type: 'auto' } }), name: 'auto' },
  ];
  const config = { services, bypasses: [{ name: 'none', matchers: ['refused.test'] }] };

  test('not without the switch, and nobody behind us is told', async () => {
    const [one, other] = [await echo(), await echo()];
    const at = `127.0.0.1:${String(one)}`;
    const named = gostName(`127.0.0.1:${String(other)}`);
    for (const port of await run(config)) {
      for (const name of ['Gost-Target', 'X-Gost-Target'])
        expect(await askEcho(port, at, { host: at, [name]: named, 'Gost-Record': 'off' })).toBe(`${at}/x `);
    }
  });

  test('with it, in both spellings, by rules, and nobody behind us is told', async () => {
    const [one, other] = [await echo(), await echo()];
    const at = `127.0.0.1:${String(one)}`;
    const there = `127.0.0.1:${String(other)}`;
    const [port, auto] = await run({ ...config, compat: { gostTarget: true } });
    const ask = (headers: http.OutgoingHttpHeaders) => askEcho(port!, at, { host: at, ...headers });
    expect(await ask({ 'Gost-Target': gostName(there) })).toBe(`${there}/x `);
    expect(await ask({ 'X-Gost-Target': gostName(there) })).toBe(`${there}/x `);
    expect(await askEcho(auto!, at, { host: at, 'Gost-Target': gostName(there) })).toBe(`${there}/x `);
    // As in GOST the second goes before the first.
    const both = { 'X-Gost-Target': gostName(there), 'Gost-Target': gostName(at) };
    expect(await ask(both)).toBe(`${there}/x `);
    // What is not GOST's is nothing.
    for (const wrong of ['', there, gostName(there, 7), `${gostName(there)}=`, 'AAAAAA', gostName('')])
      expect(await ask({ 'Gost-Target': wrong })).toBe(`${at}/x `);
    expect(await ask({ 'Gost-Target': gostName('Refused.Test.:1') })).toBe('403');
    for (const noHost of ['a b:1', '127.2:80', ':80', 'a.test:0', 'a.test/:80'])
      expect(await ask({ 'Gost-Target': gostName(noHost) })).toBe('400');
  });

  test('a tunnel, too, whatever its first line says', async () => {
    const other = await echo();
    const there = `127.0.0.1:${String(other)}`;
    const [port] = await run({ ...config, compat: { gostTarget: true } });
    const request = http
      .request({
        ...{ host: '127.0.0.1', port, method: 'CONNECT', path: 'shown.test:443', agent: false },
        headers: { 'Gost-Target': gostName(there) },
      })
      .end();
    const [answer, socket] = (await once(request, 'connect')) as [http.IncomingMessage, Socket];
    expect(answer.statusCode).toBe(200);
    closing.push(() => socket.destroy());
    socket.write('GET /x HTTP/1.1\r\nHost: in.test\r\n\r\n');
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    expect(bytes.toString()).toMatch(/in\.test\/x $/m);
  });
});

test('gostRecord: a client says that a request is not recorded', async () => {
  const at = `127.0.0.1:${String(await echo())}`;
  const file = path.join(folder, 'records');
  const config = {
    services: [
      {
        ...front({ handler: { type: 'http' } }),
        recorders: [{ name: 'file', record: 'recorder.service.handler' }],
      },
    ],
    recorders: [{ name: 'file', file: { path: file, sep: '\n' } }],
  };
  const recorded = async (compat: object) => {
    writeFileSync(file, '');
    const [port] = await run({ ...config, compat });
    for (const value of ['off', 'OFF', 'headers', 'on'])
      expect(await askEcho(port!, at, { host: at, 'Gost-Record': value })).toBe(`${at}/x `);
    expect(await askEcho(port!, at, { host: at })).toBe(`${at}/x `);
    // Whatever waits is written when the graph is closed.
    await closing.pop()!();
    return readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => {
        const { http: seen } = JSON.parse(line) as { http: { request: { header: object } } };
        return (seen.request.header as { 'Gost-Record'?: string[] })['Gost-Record']?.[0];
      });
  };
  expect(await recorded({})).toEqual(['off', 'OFF', 'headers', 'on', undefined]);
  expect(await recorded({ gostRecord: true })).toEqual(['headers', 'on', undefined]);
});
