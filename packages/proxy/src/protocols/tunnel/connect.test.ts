import { afterEach, describe, expect, test } from 'vitest';
import type { Conn } from '../../core/conn.ts';
import { Cleanup, startOrigin } from '../../core/peer.fixture.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import type { Context } from '../../core/way.ts';
import { formatRelayResponse } from '../../wire/relay.ts';
import { hex } from '../../wire/splits.fixture.ts';
import { directWay, testContext } from '../socks5/scene.fixture.ts';
import { connectorOptions, tunnelHex, tunnelId } from './client.fixture.ts';
import { visitTunnel, visitTunnelDatagrams } from './connect.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const text = (bytes: Buffer) => bytes.toString('latin1');
const answer = (status: number) => text(formatRelayResponse(status));
const client = { host: '203.0.113.7', port: 40_000 };
const target = { host: 'a.example', port: 80 };

async function dial(port: number): Promise<Conn> {
  const conn = await directWay.dial({ host: '127.0.0.1', port }, testContext());
  return cleanup.add(conn, () => {
    conn.reset();
  });
}

/** Visits, over a connection with a node that has a port here. */
async function visit(port: number, options: Partial<ConnectorOptions> = {}, context: Partial<Context> = {}) {
  const conn = await dial(port);
  return visitTunnel(conn, target, connectorOptions(options), { ...testContext(), client, ...context });
}

// 203.0.113.7:40000, and a.example:80.
const source = '02 0007 01 cb007107 9c40';
const wanted = '02 000d 03 09 612e6578616d706c65 0050';
const tunnel = (weight = '00') => `03 0014 ${tunnelHex} 00 0000 ${weight}`;

describe('a visitor', () => {
  test('asks as GOST does, waits for the answer, and keeps what follows it', async () => {
    const node = await startOrigin(cleanup);
    const visiting = visit(node.port);
    const peer = await node.next();
    const request = text(hex(`01 01 0031 ${source} ${wanted} ${tunnel()}`));
    expect(await peer.take(request)).toBe(request);
    peer.say(answer(0).slice(0, 2)).say(`${answer(0).slice(2)}welcome`);
    const conn = await visiting;
    expect(String(await conn.read())).toBe('welcome');
    await conn.write(Buffer.from('hello'));
    await conn.end();
    expect(await peer.all()).toBe('hello');
  });

  test('says who it is, how much the tunnel weighs and what is to be recorded, in the order of GOST', async () => {
    const node = await startOrigin(cleanup);
    const metadata = { tunnelId, tunnelWeight: 3, recordMode: 'off' };
    const auth = { username: 'ada', password: 'x' };
    void visit(node.port, { metadata, auth }).catch(() => undefined);
    const user = '01 0006 03 616461 01 78';
    // One pair, `record.mode` and `off`.
    const record = '05 0014 0001 000b 7265636f72642e6d6f6465 0003 6f6666';
    const request = text(hex(`01 01 0051 ${user} ${source} ${wanted} ${tunnel('03')} ${record}`));
    expect(await (await node.next()).take(request)).toBe(request);
  });

  test.each([
    ['without a client', {}],
    ['of a client that no address of IP has', { client: { host: '/run/client', port: 0 } }],
    ['of a client in a zone', { client: { host: 'fe80::1%eth0', port: 7 } }],
  ])('%s says our own address', async (_, context) => {
    const node = await startOrigin(cleanup);
    const conn = await dial(node.port);
    const asking = visitTunnel(conn, target, connectorOptions(), { ...testContext(), ...context });
    asking.catch(() => undefined);
    const own = text(
      Buffer.concat([hex('02 0007 01 7f000001'), Buffer.from([conn.local.port >> 8, conn.local.port & 255])]),
    );
    await (await node.next()).take(`${text(hex('01 01 0031'))}${own}`);
  });

  test('gets datagrams of one target, each behind its length', async () => {
    const node = await startOrigin(cleanup);
    const asking = visitTunnelDatagrams(await dial(node.port), target, connectorOptions(), {
      ...testContext(),
      client,
    });
    const peer = await node.next();
    const request = text(hex(`01 81 0036 04 0002 0001 ${source} ${wanted} ${tunnel()}`));
    expect(await peer.take(request)).toBe(request);
    peer.say(`${answer(0)}\0\x05first\0`);
    const datagrams = cleanup.add(await asking, (open) => {
      open.close();
    });
    expect(datagrams.remote).toEqual(target);
    const got: unknown[] = [];
    const both = new Promise<void>((resolve) => {
      datagrams.receive((data, from) => {
        got.push([String(data), from]);
        if (got.length === 2) resolve();
      });
    });
    peer.say('\x06second');
    await both;
    expect(got).toEqual([
      ['first', target],
      ['second', target],
    ]);
    datagrams.send(Buffer.from('out'));
    expect(await peer.take('out')).toBe('\0\x03out');
  });

  test('has to name a tunnel', async () => {
    const node = await startOrigin(cleanup);
    const visiting = visit(node.port, { metadata: {} });
    await expect(visiting).rejects.toMatchObject({ code: 'unsupported', at: 'self' });
    await expect(visiting).rejects.toThrow('`tunnel.id` is missing');
    expect(await (await node.next()).all()).toBe('');
  });

  test('cannot say what has no room', async () => {
    const node = await startOrigin(cleanup);
    const visiting = visit(node.port, { auth: { username: 'a'.repeat(256), password: '' } });
    await expect(visiting).rejects.toMatchObject({ code: 'unsupported', at: 'self' });
    expect(await (await node.next()).all()).toBe('');
  });
});

describe('a node', () => {
  test.each([
    ['no user', answer(2), 'upstreamRefused', 'wants a user name'],
    ['not allowed', answer(3), 'upstreamRefused', `does not allow a.example:80 in the tunnel ${tunnelId}`],
    ['a bad request', answer(1), 'upstreamRefused', 'does not serve'],
    ['no connector', answer(5), 'dialFailed', 'relay says 5'],
    ['no such host', answer(6), 'dialFailed', 'relay says 6'],
    ['private', answer(7), 'dialFailed', 'relay says 7'],
    ['another protocol', 'HTTP/1.1 400', 'badUpstreamReply', 'no relay protocol'],
    ['a broken feature', '\x01\0\0\x02\x02\0', 'badUpstreamReply', 'cut off'],
  ])('answers: %s', async (_, said, code, words) => {
    const node = await startOrigin(cleanup);
    const visiting = visit(node.port);
    visiting.catch(() => undefined);
    const peer = await node.next();
    await peer.take('a.example');
    peer.say(said);
    await expect(visiting).rejects.toMatchObject({ code, at: 'upstream', retryable: true });
    await expect(visiting).rejects.toThrow(words);
    await peer.all();
  });

  test.each(['', '\x01', '\x01\0\0\x05\x02'])('hangs up after %j', async (said) => {
    const node = await startOrigin(cleanup);
    const visiting = visit(node.port);
    visiting.catch(() => undefined);
    (await node.next()).say(said).socket.end();
    await expect(visiting).rejects.toMatchObject({ code: 'upstreamClosed', retryable: true });
  });

  test('that does not answer is not waited for longer than the file says, nor by nobody', async () => {
    const node = await startOrigin(cleanup);
    const metadata = { tunnelId, connectTimeoutMs: 20 };
    await expect(visit(node.port, { metadata })).rejects.toMatchObject({ code: 'upstreamTimeout' });
    expect(await (await node.next()).all()).toContain('a.example');
    const leaving = new AbortController();
    const visiting = visit(node.port, {}, { signal: leaving.signal });
    visiting.catch(() => undefined);
    const peer = await node.next();
    await peer.take('a.example');
    leaving.abort();
    await expect(visiting).rejects.toMatchObject({ code: 'clientClosed' });
    await peer.all();
  });
});
