import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createLog } from '../../log/log.ts';
import { loadText } from '../load.ts';
import { readTlsFiles } from '../tls-files.ts';
import { buildGraph } from './graph.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A proxy that lets everybody through to nowhere, and what it was asked for. */
async function startNode(): Promise<{ readonly addr: string; readonly asked: readonly string[] }> {
  const asked: string[] = [];
  const server = http.createServer().on('connect', ({ url }, socket) => {
    asked.push(url!);
    socket.on('error', () => undefined);
    socket.end('HTTP/1.1 200 OK\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => server.close());
  return { addr: `127.0.0.1:${String((server.address() as AddressInfo).port)}`, asked };
}

test.each([
  ['source', 1],
  ['host', 2],
] as const)('handler metadata `hash: %s` reaches the selector', async (hash, usedNodes) => {
  const nodes = [await startNode(), await startNode()];
  const { config, report } = loadText(
    'file',
    JSON.stringify({
      services: [{ addr: '127.0.0.1:0', handler: { type: 'http', chain: 'out', metadata: { hash } } }],
      chains: [
        {
          name: 'out',
          hops: [{ name: 'one', selector: { strategy: 'hash' }, nodes: nodes.map(({ addr }) => ({ addr })) }],
        },
      ],
    }),
  );
  const log = createLog('fatal', true, { write: () => undefined });
  const graph = await buildGraph(config!, readTlsFiles(config!, report), log);
  closing.push(() => graph.close());
  const { port } = graph.listening[0]!.address;
  for (let number = 1; number <= 8; number++) {
    const request = http.request({
      ...{ host: '127.0.0.1', port, method: 'CONNECT', agent: false },
      path: `target-${String(number)}.test:443`,
    });
    request.end();
    const [response, socket] = (await once(request, 'connect')) as [
      http.IncomingMessage,
      { destroy(): void },
    ];
    expect(response.statusCode).toBe(200);
    socket.destroy();
  }
  expect(nodes.flatMap(({ asked }) => asked)).toHaveLength(8);
  expect(nodes.filter(({ asked }) => asked.length > 0)).toHaveLength(usedNodes);
});
