/* eslint-disable no-control-regex -- the bytes of the protocol are what is looked at */
import { afterEach, describe, expect, test } from 'vitest';
import type { Address } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import { Cleanup, connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import type { Peer } from '../../core/peer.fixture.ts';
import { formatRelayDatagram, parseRelayResponse } from '../../wire/relay.ts';
import { formatSocks5Frame } from '../../wire/socks5-udp.ts';
import { directWay, startUdpEcho, testContext } from '../socks5/scene.fixture.ts';
import { relay } from './index.ts';
import { answer, asks, connectsUdp, forwarderTo, ok, startRelay } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const any = { host: '0.0.0.0', port: 0 };
const text = (bytes: Buffer) => bytes.toString('latin1');
const framed = (data: string) => text(formatRelayDatagram(Buffer.from(data)));

async function scene(parts: TestParts = {}) {
  const echo = await startUdpEcho(cleanup);
  const service = await startRelay(cleanup, parts);
  const client = await connectPeer(cleanup, service.port);
  return { echo, service, client, target: { host: '127.0.0.1', port: echo.port } };
}

describe('the datagrams of one target', () => {
  test('come with the request, in pieces, and empty', async () => {
    const { client, target, service, echo } = await scene();
    client.say(`${connectsUdp(target)}${framed('one')}${framed('')}${framed('two').slice(0, 3)}`);
    await client.take(`${ok}${framed('echo:one')}${framed('echo:')}`);
    client.say(framed('two').slice(3));
    await client.take(framed('echo:two'));
    client.socket.end();
    await client.all();
    expect((await service.event('closed')).error).toBeUndefined();
    expect(echo.got).toEqual(['one', '', 'two']);
    expect((await service.event('served')).what).toBe(`CONNECT udp 127.0.0.1:${String(target.port)}`);
  });

  test('are asked about once, as what they are', async () => {
    const asked: unknown[] = [];
    const bypass = ({ target, network }: { target: string; network: string }) => {
      asked.push([target, network]);
      return false;
    };
    const { client, target } = await scene({ bypass: { bypass } });
    client.say(connectsUdp({ host: 'localhost', port: target.port }));
    await client.take(ok);
    for (const word of ['a', 'b']) {
      client.say(framed(word));
      await client.take(framed(`echo:${word}`));
    }
    expect(asked).toEqual([[`localhost:${String(target.port)}`, 'udp']]);
  });

  test('go to a forwarder’s node', async () => {
    const echo = await startUdpEcho(cleanup);
    const service = await startRelay(cleanup, { forwarder: forwarderTo(echo.port) });
    const client = await connectPeer(cleanup, service.port);
    client.say(`${asks({ features: [{ type: 'network', network: 1 }] })}${framed('x')}`);
    await client.take(`${ok}${framed('echo:x')}`);
  });

  test('a service that cannot carry them says so', async () => {
    const direct = { ...directWay, packets: undefined } as unknown as typeof directWay;
    const { client, target } = await scene({ direct });
    client.say(connectsUdp(target));
    expect(await client.all()).toBe(answer(5));
  });
});

describe('datagrams to any peer', () => {
  async function associated(client: Peer, request: string): Promise<Address> {
    client.say(request);
    const reply = await client.take(/^\x01.{2}\x0a.{10}/s);
    const { status, features } = parseRelayResponse(Buffer.from(reply, 'latin1'))!.message;
    expect(status).toBe(0);
    const [feature] = features;
    if (feature?.type !== 'addr') throw new Error('no address in the answer');
    return feature.address;
  }

  test.each([
    ['BIND, as GOST asks', connectsUdp(any, 2)],
    ['ASSOCIATE', asks({ command: 3, features: [{ type: 'addr', address: any }] })],
    ['ASSOCIATE for datagrams', connectsUdp(any, 3)],
  ])('%s: go and come in frames, where the file allows it', async (_, request) => {
    const { client, target, service } = await scene({ metadata: { bind: true } });
    const bound = await associated(client, request);
    expect(bound.host).toBe('127.0.0.1');
    expect(bound.port).toBeGreaterThan(0);
    const frame = (data: string) => text(formatSocks5Frame({ address: target, data: Buffer.from(data) }));
    client.say(`${frame('one')}${frame('two')}`);
    await client.take(frame('echo:one'));
    await client.take(frame('echo:two'));
    client.socket.end();
    await client.all();
    expect((await service.event('closed')).error).toBeUndefined();
  });

  test('what is no frame ends them', async () => {
    const { client } = await scene({ metadata: { bind: true } });
    await associated(client, connectsUdp(any, 2));
    client.say('GET / HTTP/1.1\r\n\r\n');
    await client.all();
  });
});

describe('a node', () => {
  const dial = async (port: number) => {
    const node = { host: '127.0.0.1', port };
    return { node, conn: await directWay.dial(node, testContext()) };
  };
  const received = (datagrams: Datagrams) => {
    const waiting: ((got: { data: string; peer: Address }) => void)[] = [];
    datagrams.receive((data, peer) => waiting.shift()?.({ data: data.toString(), peer }));
    return () => new Promise<{ data: string; peer: Address }>((resolve) => waiting.push(resolve));
  };
  const kept = (datagrams: Datagrams) =>
    cleanup.add(datagrams, (open) => {
      open.close();
    });

  test.each([{}, { nodelay: true }])('carries those of one target (%j)', async (metadata) => {
    const { service, target } = await scene();
    const { node, conn } = await dial(service.port);
    const options = { metadata, node };
    const datagrams = kept(await relay.connector!.connectDatagrams!(conn, target, options, testContext()));
    expect(datagrams.remote).toEqual(target);
    const get = received(datagrams);
    for (const word of ['one', 'two', '']) {
      const answered = get();
      expect(datagrams.send(Buffer.from(word))).toBe(true);
      expect(await answered).toEqual({ data: `echo:${word}`, peer: target });
    }
    expect(datagrams.send(Buffer.alloc(65_536))).toBe(false);
    datagrams.close();
    await datagrams.closed;
    expect(datagrams.send(Buffer.from('x'))).toBe(false);
    expect((await service.event('closed')).error).toBeUndefined();
  });

  test('carries those of any peer', async () => {
    const { service, target } = await scene({ metadata: { bind: true } });
    const { node, conn } = await dial(service.port);
    const datagrams = kept(
      await relay.connector!.associate!(conn, directWay, { metadata: {}, node }, testContext()),
    );
    const get = received(datagrams);
    for (const word of ['one', 'two']) {
      const answered = get();
      expect(datagrams.send(Buffer.from(word), target)).toBe(true);
      expect(await answered).toEqual({ data: `echo:${word}`, peer: target });
    }
  });

  test('that does not let us is an error, and that goes away ends them', async () => {
    const { service, target } = await scene();
    const refusing = await dial(service.port);
    const options = { metadata: {}, node: refusing.node };
    const associating = relay.connector!.associate!(refusing.conn, directWay, options, testContext());
    await expect(associating).rejects.toMatchObject({ code: 'upstreamRefused', at: 'upstream' });
    await refusing.conn.closed;
    const { conn } = await dial(service.port);
    const datagrams = kept(await relay.connector!.connectDatagrams!(conn, target, options, testContext()));
    received(datagrams);
    await service.event('dialed');
    await service.service.close();
    await datagrams.closed;
  });

  test('that answers a datagram with a no ends them', async () => {
    const origin = await startOrigin(cleanup);
    const { node, conn } = await dial(origin.port);
    const options = { metadata: {}, node };
    const target = { host: 'a.example', port: 53 };
    const datagrams = kept(await relay.connector!.connectDatagrams!(conn, target, options, testContext()));
    received(datagrams);
    datagrams.send(Buffer.from('x'));
    const peer = await origin.next();
    expect(await peer.take(framed('x'))).toBe(`${connectsUdp(target)}${framed('x')}`);
    peer.say(answer(3));
    await datagrams.closed;
  });
});
