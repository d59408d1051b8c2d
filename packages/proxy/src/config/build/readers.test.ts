import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, connect } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { implement, observer, recorder, servePlugins } from '@sallyport/plugin';
import type { ObserverEvent, PluginServer } from '@sallyport/plugin';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { formatFindings } from '../../schema/report.ts';
import { loadConfig } from '../load.ts';
import { buildGraph } from './graph.ts';
import type { Graph } from './graph.ts';

let folder: string;
let echo: Server;
let plugins: PluginServer;
let graph: Graph | undefined;
const records: { readonly text: string; readonly metadata: unknown }[] = [];
const events: ObserverEvent[] = [];
const lines: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-readers-'));
  echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  for (const list of [records, events, lines]) list.length = 0;
  plugins = await servePlugins(
    [
      implement(recorder, {
        record({ data, metadata }) {
          records.push({ text: Buffer.from(data).toString(), metadata });
          return true;
        },
      }),
      implement(observer, {
        observe(ask) {
          events.push(...ask.events);
          return true;
        },
      }),
    ],
    { port: 0 },
  );
});
afterEach(async () => {
  await graph?.close();
  graph = undefined;
  await plugins.close();
  echo.close();
  await rm(folder, { recursive: true });
});

const use = (record: string, more: object = {}) => ({
  name: 'told',
  record: `recorder.service.${record}`,
  ...more,
});

function configOf(service: object = {}, more: object = {}) {
  const plugin = { type: 'grpc', addr: plugins.addr };
  return {
    services: [
      {
        ...{ name: 'front', addr: '127.0.0.1:0', observer: 'watch' },
        handler: { type: 'http', observer: 'watch', auth: { username: 'u', password: 'p' } },
        metadata: { enableStats: true, 'observer.period': '1h', labels: { site: 'lab' } },
        recorders: [
          use('client.address'),
          use('router.dial.address', { metadata: { 'Some.Key': 7, on: true, in: { Deep: [1] } } }),
          use('handler'),
        ],
        ...service,
      },
    ],
    recorders: [
      { name: 'told', plugin },
      { name: 'kept', file: { path: join(folder, 'kept'), sep: '\n' } },
    ],
    observers: [{ name: 'watch', plugin }],
    ...more,
  };
}

async function load(config: object) {
  const loaded = await loadConfig([JSON.stringify(config)]);
  expect(formatFindings(loaded.report.errors)).toEqual([]);
  return { config: loaded.config!, tls: loaded.tls, warnings: formatFindings(loaded.report.warnings) };
}

async function start(config: object, previous?: Graph): Promise<Graph> {
  const { config: found, tls } = await load(config);
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  return buildGraph(found, tls, log, previous === undefined ? {} : { previous });
}

/** A tunnel to the echo through the proxy, and what came of it. */
async function visit({ listening }: Graph): Promise<string> {
  const target = `127.0.0.1:${String((echo.address() as AddressInfo).port)}`;
  const socket = connect(listening[0]!.address.port, '127.0.0.1');
  const auth = Buffer.from('u:p').toString('base64');
  socket.write(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Basic ${auth}\r\n\r\nhello`,
  );
  let text = '';
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString();
    if (text.endsWith('hello')) socket.end();
  });
  await once(socket, 'close');
  return text;
}

const states = () =>
  events.flatMap((event) => (event.type === 'status' ? [`${event.service} ${event.state}`] : []));

test('a connection is recorded and observed from end to end, and all of it is handed over at the end', async () => {
  graph = await start(configOf());
  expect(await visit(graph)).toMatch(/^HTTP\/1.1 200 [^]*hello$/);
  await graph.stop();
  await graph.close();
  const [client, dial, handler] = records;
  expect(records).toHaveLength(3);
  expect(client).toEqual({ text: '127.0.0.1', metadata: null });
  expect(dial).toEqual({ text: '127.0.0.1', metadata: { 'some.key': 7, on: true, in: { deep: [1] } } });
  expect(handler!.text).not.toContain(Buffer.from('u:p').toString('base64'));
  expect(JSON.parse(handler!.text)).toMatchObject({
    ...{ service: 'front', labels: { site: 'lab' }, network: 'tcp', clientID: 'u' },
    ...{ src: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string },
    decisions: [{ module: 'auth', outcome: 'yes', about: 'u' }],
  });
  expect(states()).toEqual(['front running', 'front ready', 'front closed']);
  const stats = events.flatMap((event) => (event.type === 'stats' ? [event] : []));
  const counted = { totalConns: 1, currentConns: 0, totalErrs: 0 };
  expect(stats).toMatchObject([
    { kind: 'service', user: '', stats: counted },
    { kind: 'handler', user: 'u', stats: counted },
  ]);
  const { inputBytes, outputBytes } = JSON.parse(handler!.text) as Record<string, number>;
  expect(stats[0]!.stats).toMatchObject({ inputBytes, outputBytes });
  expect(stats[1]!.stats).toEqual(stats[0]!.stats);
  expect(lines).toEqual([]);
});

test('a file gets the same', async () => {
  const recorders = [{ name: 'kept', record: 'recorder.service.client.address' }];
  graph = await start(configOf({ recorders, observer: undefined }));
  await visit(graph);
  await visit(graph);
  await graph.close();
  expect(await readFile(join(folder, 'kept'), 'utf8')).toBe('127.0.0.1\n127.0.0.1\n');
  expect(records).toEqual([]);
});

test('a file that cannot be written ends the start with its place; without a service it does not matter', async () => {
  const recorders = [{ name: 'bad', file: { path: join(folder, 'missing', 'x') } }];
  const uses = [{ name: 'bad', record: 'recorder.service.handler' }];
  await expect(start(configOf({ recorders: uses }, { recorders }))).rejects.toMatchObject({
    name: 'ProxyError',
    message: expect.stringMatching(
      /^-C:1:\d+: recorders\[0\]\.file\.path: .*missing\/x cannot be written/,
    ) as string,
  });
  graph = await start(configOf({ recorders: undefined }, { recorders }));
});

test('a service that cannot listen has failed', async () => {
  const taken = `127.0.0.1:${String((echo.address() as AddressInfo).port)}`;
  await expect(start(configOf({ addr: taken }))).rejects.toMatchObject({ name: 'ProxyError' });
  expect(states()).toEqual(['front running', 'front failed']);
  expect(events.at(-1)).toMatchObject({
    message: expect.stringMatching(/^service front is failed: .*in use/) as string,
  });
});

test('a service that lives on in the next graph is not said to be closed', async () => {
  const first = await start(configOf());
  graph = await start(configOf(), first);
  await first.retire();
  await first.close();
  await graph.close();
  expect(states().filter((state) => state === 'front closed')).toHaveLength(1);
  expect(states().at(-1)).toBe('front closed');
});

test('recorders and observers that are down hold up neither start nor traffic', async () => {
  await plugins.close();
  graph = await start(configOf());
  expect(await visit(graph)).toMatch(/hello$/);
  await graph.stop();
  expect(records).toEqual([]);
});

test('loading says what of the recorders is not used', async () => {
  const twice = [use('handler', { metadata: { 'http.body': true } }), use('handler')];
  const { warnings } = await load(configOf({ recorders: twice }));
  expect(warnings).toEqual([
    expect.stringMatching(/recorders\[0\]\.metadata\.http\.body: is not served by this version/),
    expect.stringMatching(/recorders\[1\]\.record: is not used, as in GOST/),
  ]);
});
