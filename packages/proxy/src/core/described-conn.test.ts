import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { Ends, PeerTls } from './conn.ts';
import { describedConn, describedDatagrams } from './described-conn.ts';
import { memoryConnPair, memoryDatagramsPair } from './memory-conn.fixture.ts';
import { asMetered, meterConn } from './metered-conn.ts';
import { PassedConn } from './passed-conn.ts';
import { Cleanup } from './peer.fixture.ts';
import { relayDatagrams } from './relay.ts';
import { createSocketConn } from './socket-conn.ts';

const at = (host: string, port: number) => ({ host, port });
const tls: PeerTls = { verified: true, commonName: 'node', subjectAltNames: [], fingerprint: 'ab' };
const node: Ends = { local: at('192.0.2.1', 1), remote: at('192.0.2.2', 2), tls, via: at('192.0.2.3', 3) };
const visitor = at('203.0.113.7', 40_000);
const wanted = at('inside.test', 80);
const said = ({ local, remote, tls: proved, wanted: asked, via }: Ends) => ({
  ...{ local, remote, via },
  ...{ tls: proved, wanted: asked },
});

describe('a described connection', () => {
  test('is said to have other ends, and what is not named stays', () => {
    const [conn] = memoryConnPair({ ends: [node, {}] });
    expect(said(describedConn(conn, {}))).toEqual(said(conn));
    const described = describedConn(conn, { remote: visitor, wanted });
    expect(said(described)).toEqual({ ...node, remote: visitor, wanted });
    expect(described.closed).toBe(conn.closed);
  });

  test('says nothing of what is named as undefined, but always has two addresses', () => {
    const [conn] = memoryConnPair({ ends: [{ ...node, wanted }, {}] });
    const nothing = {
      local: undefined,
      remote: undefined,
      tls: undefined,
      wanted: undefined,
      via: undefined,
    };
    const { local, remote } = node;
    expect(said(describedConn(conn, nothing))).toEqual({ ...nothing, local, remote });
  });

  test('carries the bytes of the connection, and its end and its reset', async () => {
    const [conn, peer] = memoryConnPair();
    const described = describedConn(conn, { remote: visitor });
    await described.write(Buffer.from('out'));
    expect(String(await peer.read())).toBe('out');
    await peer.write(Buffer.from('in'));
    described.unread((await described.read())!);
    expect(String(await conn.read())).toBe('in');
    await described.end();
    expect(await peer.read()).toBeNull();
    described.reset();
    await peer.closed;
    expect(peer.isReset).toBe(true);
  });

  test('is no layer: beneath it is what is beneath the connection', () => {
    const [carrier] = memoryConnPair();
    const stream = new PassedConn(carrier);
    expect(describedConn(stream, { wanted }).under).toBe(carrier);
    expect(describedConn(describedConn(stream, { wanted }), { remote: visitor }).under).toBe(carrier);
  });

  test('hides neither the lowest connection nor the metered one', () => {
    const [lowest] = memoryConnPair();
    expect(describedConn(lowest, { wanted }).under).toBe(lowest);
    const metered = meterConn(lowest, { traffic: { received: 0, sent: 0 } });
    const described = describedConn(metered, { wanted });
    expect(asMetered(described)).toBe(metered);
    expect(asMetered(describedConn(described, { remote: visitor }))).toBe(metered);
    expect(asMetered(describedConn(new PassedConn(metered), { wanted }))).toBe(metered);
  });

  test('gives the socket away where the connection does, unless its stream is in use', async () => {
    const cleanup = new Cleanup();
    const server = cleanup.add(net.createServer({ allowHalfOpen: true }), (one) => one.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const connected = async () => {
      const { port } = server.address() as AddressInfo;
      const accepted = once(server, 'connection') as Promise<[Socket]>;
      cleanup.add(net.connect({ port, host: '127.0.0.1' }), (peer) => peer.destroy());
      const [socket] = await accepted;
      cleanup.add(socket, () => socket.destroy());
      return { socket, conn: createSocketConn(socket, { side: 'client' }) };
    };
    const given = await connected();
    expect(describedConn(given.conn, { wanted }).detach!()).toBe(given.socket);
    const streaming = await connected();
    const described = describedConn(streaming.conn, { wanted });
    expect(described.stream).toBe(streaming.conn.stream);
    expect(described.detach!()).toBeUndefined();
    const [without] = memoryConnPair();
    expect(describedConn(without, { wanted }).detach!()).toBeUndefined();
    await cleanup.run();
  });
});

describe('described datagrams', () => {
  test('are said to have other ends, and what is not named stays', async () => {
    const [datagrams] = memoryDatagramsPair([node, {}]);
    const described = describedDatagrams(datagrams, { remote: visitor, wanted });
    expect(said(described)).toEqual({ ...node, remote: visitor, wanted });
    expect('carrier' in described).toBe(false);
    expect(said(describedDatagrams(datagrams, { tls: undefined }))).toEqual({ ...node, tls: undefined });
    const [carrier] = memoryConnPair();
    expect(describedDatagrams({ ...datagrams, carrier }, { wanted }).carrier).toBe(carrier);
    described.close();
    await datagrams.closed;
    await described.closed;
    expect(described.send(Buffer.from('x'))).toBe(false);
  });

  test('call their peer by its new name, and others by their own', () => {
    const [datagrams, peer] = memoryDatagramsPair([node, { remote: node.local }]);
    const described = describedDatagrams(datagrams, { remote: visitor });
    const other = at('192.0.2.9', 9);
    const got: unknown[] = [];
    described.receive((data, from) => got.push([String(data), from]));
    peer.send(Buffer.from('a'), { ...node.remote });
    peer.send(Buffer.from('b'), other);
    expect(got).toEqual([
      ['a', visitor],
      ['b', other],
    ]);
    const sent: unknown[] = [];
    const open = describedDatagrams(
      { ...datagrams, send: (data, to) => sent.push([String(data), to]) > 0 },
      { remote: visitor },
    );
    expect([open.send(Buffer.from('1')), open.send(Buffer.from('2'), { ...visitor })]).toEqual([true, true]);
    open.send(Buffer.from('3'), other);
    expect(sent).toEqual([
      ['1', undefined],
      ['2', node.remote],
      ['3', other],
    ]);
  });

  test('of one peer are relayed to where the upstream leads, not to the peer', async () => {
    const [datagrams, peer] = memoryDatagramsPair([node, {}]);
    const [upstream, target] = memoryDatagramsPair();
    const peers: unknown[] = [];
    const relayed = relayDatagrams(describedDatagrams(datagrams, { remote: visitor }), {
      ...upstream,
      send: (data, to) => {
        peers.push(to);
        return upstream.send(data, to);
      },
    });
    peer.send(Buffer.from('question'), node.remote);
    expect(peers).toEqual([undefined]);
    target.close();
    await relayed;
  });
});
