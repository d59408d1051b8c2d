import { describe, expect, test } from 'vitest';
import type { Datagrams } from '../../core/datagrams.ts';
import type { ProxyError } from '../../core/errors.ts';
import { readAll } from '../../core/mux/mux-pair.fixture.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import type { BindRequest } from '../../core/way.ts';
import { formatRelayRequest, formatRelayResponse, parseRelayDatagram } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { hex } from '../../wire/splits.fixture.ts';
import { testContext } from '../socks5/scene.fixture.ts';
import { registerTunnel } from './bind.ts';
import {
  addr,
  Arrivals,
  connectorOptions,
  registered,
  scriptedNode,
  tunnelHex,
  tunnelId,
} from './client.fixture.ts';
import type { ScriptedNode } from './client.fixture.ts';

const visitor = { host: '203.0.113.7', port: 40_000 };
const web = { host: 'web.test', port: 80 };

/** Begins a registration, and answers with what the node is asked. */
async function register(
  node: ScriptedNode,
  request: Partial<BindRequest> = {},
  options: Partial<ConnectorOptions> = {},
  signal?: AbortSignal,
) {
  const arrivals = new Arrivals();
  const problems: ProxyError[] = [];
  const asked: BindRequest = {
    network: 'tcp',
    address: { host: '', port: 8081 },
    problem: (error) => problems.push(error),
    ...request,
  };
  const listening = registerTunnel(
    node.conn,
    asked,
    arrivals.accept,
    connectorOptions(options),
    testContext(signal),
  );
  listening.catch(() => undefined);
  const said: RelayRequest = await node.request();
  return { arrivals, problems, listening, said };
}

/** A tunnel that is open. */
async function open(request: Partial<BindRequest> = {}, options: Partial<ConnectorOptions> = {}) {
  const node = scriptedNode();
  const { arrivals, problems, listening } = await register(node, request, options);
  await node.end.write(registered('f1a93c0d5e6b7a81', 8081));
  return { node, arrivals, problems, listening: await listening };
}

describe('a registration', () => {
  // Our own address, 192.0.2.2:80 of the pair.
  const local = '02 0007 01 c0000202 0050';
  const tunnel = (weight = '00') => `03 0014 ${tunnelHex} 00 0000 ${weight}`;

  test.each<[string, Partial<BindRequest>, Partial<ConnectorOptions>, string]>([
    ['of no name', {}, {}, `01 02 002b ${local} 02 0007 01 00000000 1f91 ${tunnel()}`],
    [
      'of a name, by a user, with a weight, that is not to be recorded',
      { address: { host: 'my.example.com', port: 0 } },
      {
        auth: { username: 'ada', password: 'x' },
        metadata: { tunnelId, tunnelWeight: 255, recordMode: 'off' },
      },
      `01 02 0056 01 0006 03 616461 01 78 ${local} 02 0012 03 0e 6d792e6578616d706c652e636f6d 0000 ${tunnel('ff')}
       05 0014 0001 000b 7265636f72642e6d6f6465 0003 6f6666`,
    ],
    [
      'for datagrams',
      { network: 'udp' },
      {},
      `01 82 0030 04 0002 0001 ${local} 02 0007 01 00000000 1f91 ${tunnel()}`,
    ],
  ])('%s is what GOST sends', async (_, request, options, bytes) => {
    const { said } = await register(scriptedNode(), request, options);
    expect(formatRelayRequest(said).toString('hex')).toBe(hex(bytes).toString('hex'));
  });

  test('is told under which name it is public', async () => {
    const { listening } = await open();
    expect(listening.address).toEqual({ host: 'f1a93c0d5e6b7a81', port: 8081 });
    expect(listening.name).toBe(`tunnel ${tunnelId} as f1a93c0d5e6b7a81`);
    const datagrams = await open({ network: 'udp' });
    expect(datagrams.listening.name).toBe(`tunnel ${tunnelId} for datagrams as f1a93c0d5e6b7a81`);
  });

  test('has the name that it asked for where the node says none', async () => {
    const node = scriptedNode();
    const { listening } = await register(node, { address: web });
    await node.end.write(formatRelayResponse(0));
    expect(await listening).toMatchObject({ address: web, name: `tunnel ${tunnelId} as web.test` });
    const other = scriptedNode();
    const nameless = await register(other);
    await other.end.write(formatRelayResponse(0));
    expect(await nameless.listening).toMatchObject({ name: `tunnel ${tunnelId}` });
  });

  test('without an id gets one that stays when the connection is lost, and that no other connector has', async () => {
    const idOf = async (metadata: Readonly<Record<string, unknown>>) => {
      const { said } = await register(scriptedNode(), {}, { metadata });
      return said.features.find((one) => one.type === 'tunnel')?.id;
    };
    const [one, other] = [{}, {}];
    const first = await idOf(one);
    expect(first).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    expect(await idOf(one)).toBe(first);
    expect(await idOf(other)).not.toBe(first);
  });

  test.each([
    [2, 'upstreamRefused', 'wants a user name'],
    [3, 'upstreamRefused', `does not allow the tunnel ${tunnelId}`],
    [5, 'dialFailed', `could not open the tunnel ${tunnelId}`],
  ])('that is answered with %d rejects', async (status, code, words) => {
    const node = scriptedNode();
    const { listening } = await register(node);
    await node.end.write(formatRelayResponse(status));
    await expect(listening).rejects.toMatchObject({ code, at: 'upstream', retryable: true });
    await expect(listening).rejects.toThrow(words);
    await node.conn.closed;
  });

  test('that is not answered is given up', async () => {
    const node = scriptedNode();
    const { listening } = await register(node, {}, { metadata: { tunnelId, connectTimeoutMs: 10 } });
    await expect(listening).rejects.toMatchObject({ code: 'upstreamTimeout' });
    const leaving = new AbortController();
    const other = scriptedNode();
    const given = await register(other, {}, {}, leaving.signal);
    leaving.abort();
    await expect(given.listening).rejects.toMatchObject({ code: 'clientClosed' });
    await other.conn.closed;
  });
});

describe('a tunnel', () => {
  test('brings visitors, each with its own address and what it wants', async () => {
    const { node, arrivals } = await open();
    const mux = node.mux();
    const stream = mux.open();
    const head = formatRelayResponse(0, [addr(visitor.host, visitor.port), addr(web.host, web.port)]);
    await stream.write(Buffer.concat([head, Buffer.from('GET')]));
    const conn = await arrivals.stream();
    expect(conn).toMatchObject({
      remote: visitor,
      wanted: web,
      local: { host: 'f1a93c0d5e6b7a81', port: 8081 },
    });
    expect(String(await conn.read())).toBe('GET');
    await conn.write(Buffer.from('200'));
    await conn.end();
    expect(String(await readAll(stream))).toBe('200');
  });

  test('speaks the mux that the file says', async () => {
    const muxKeys = { muxType: 'yamux' as const };
    const { node, arrivals } = await open({}, { metadata: { tunnelId, ...muxKeys } });
    const stream = node.mux({ type: 'yamux' }).open();
    await stream.write(formatRelayResponse(0, [addr(visitor.host, visitor.port)]));
    expect(await arrivals.stream()).toMatchObject({ remote: visitor, wanted: undefined });
  });

  test.each([
    [1, {}],
    [4, { muxMaxStreamBytes: 4 * 1024 * 1024 }],
  ])('lets a visitor have %d MiB under way', async (mebibytes, metadata) => {
    const { node, arrivals } = await open({}, { metadata: { tunnelId, ...metadata } });
    const stream = node.mux().open();
    await stream.write(formatRelayResponse(0, [addr(visitor.host, visitor.port)]));
    const conn = await arrivals.stream();
    // The first window is always 256 KiB; what has been read of it need not have been told yet, up to half of the real one.
    const first = stream.write(Buffer.alloc(256 * 1024));
    for (let read = 0; read < 256 * 1024; read += (await conn.read())!.length);
    await first;
    await stream.write(Buffer.alloc(mebibytes * 512 * 1024));
  });

  test('of datagrams brings those of each visitor', async () => {
    const { node, arrivals } = await open({ network: 'udp' });
    const stream = node.mux().open();
    const head = formatRelayResponse(0, [addr(visitor.host, visitor.port), addr('dns.test', 53)]);
    await stream.write(Buffer.concat([head, Buffer.from('\0\x03one\0\x03t')]));
    await stream.write(Buffer.from('wo'));
    const datagrams = (await arrivals.next()) as Datagrams;
    expect(datagrams).toMatchObject({
      kind: 'datagrams',
      remote: visitor,
      wanted: { host: 'dns.test', port: 53 },
    });
    const got: unknown[] = [];
    await new Promise<void>((resolve) => {
      datagrams.receive((data, peer) => {
        if (got.push([String(data), peer]) === 2) resolve();
      });
    });
    expect(got).toEqual([
      ['one', visitor],
      ['two', visitor],
    ]);
    expect(datagrams.send(Buffer.from('answer'), visitor)).toBe(true);
    const answered = await stream.read();
    expect(String(parseRelayDatagram(answered!)!.message)).toBe('answer');
    await stream.end();
    await datagrams.closed;
  });
});
