import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { createAuthority } from '@sallyport/plugin/testing';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseNameserver } from './address.ts';
import {
  bindUdp,
  framed,
  listen,
  records,
  replyTo,
  respondHttps,
  serveHttps,
  serveTcp,
  serveTls,
  serveUdp,
  zone,
} from './dns-server.fixture.ts';
import type { DialTcp } from './exchange.ts';
import { testResolver } from './resolver.fixture.ts';

const authority = createAuthority();
const certificate = authority.issue({ names: ['dns.example', '127.0.0.1'] });
const roots = [authority.cert];
const answering = zone({ 'a.example': ['192.0.2.1', '2001:db8::1'] });

const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ name: 'PluginError', code, message: expect.stringMatching(message) as string });

/** A byte stream that is no socket, as a chain may give one; and what was dialled. */
function wrapping(): { dialTcp: DialTcp; dialled: [string, number][] } {
  const dialled: [string, number][] = [];
  return {
    dialled,
    dialTcp: async (host, port) => {
      dialled.push([host, port]);
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      const duplex = new Duplex({
        read() {
          socket.resume();
        },
        write(chunk: Buffer, _encoding, done) {
          socket.write(chunk, done);
        },
        final(done) {
          socket.end(done);
        },
        destroy(error, done) {
          socket.destroy();
          done(error);
        },
      });
      socket.on('data', (chunk) => {
        if (!duplex.push(chunk)) socket.pause();
      });
      socket.on('end', () => duplex.push(null));
      socket.on('error', (error) => duplex.destroy(error));
      return duplex;
    },
  };
}

describe.each([
  ['udp', () => serveUdp(answering)],
  ['tcp', () => serveTcp(answering)],
  ['tls', () => serveTls(certificate, answering)],
  ['https', () => serveHttps(certificate, respondHttps(answering))],
])('over %s', (scheme, serve) => {
  test('a name has its address, and the event says who was asked', async () => {
    const server = await serve();
    const resolver = testResolver({ name: 'r', nameservers: [server], roots });
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(server.queries).toMatchObject([{ questions: [{ name: 'a.example', type: 'A' }] }]);
    expect(resolver.events).toMatchObject([
      {
        module: 'resolver',
        method: 'resolve',
        name: 'r',
        endpoint: server.address.text,
        transport: 'local',
        session: 's1',
        outcome: 'ok',
        source: 'live',
      },
    ]);
    expect(server.address.text).toMatch(new RegExp(`^${scheme}://127\\.0\\.0\\.1:\\d+`));
    expect(resolver.events[0]!.bytesSent).toBeGreaterThan(20);
    expect(resolver.events[0]!.bytesReceived).toBeGreaterThan(30);
  });

  test('a server that is silent is a timeout, and nothing stays open', async () => {
    const server = await serve();
    const quiet = { ...server.address, port: await silentPort(scheme) };
    const resolver = testResolver({ nameservers: [{ address: quiet, timeoutMs: 100 }], roots });
    expect(await resolver.ask('a.example')).toEqual(failure('timeout', /: no answer within 100 ms$/));
    expect(resolver.events).toMatchObject([{ outcome: 'timeout', source: 'live' }]);
  });

  test('who stops waiting is told at once', async () => {
    const server = await serve();
    const quiet = { ...server.address, port: await silentPort(scheme) };
    const resolver = testResolver({ nameservers: [{ address: quiet }], roots });
    const leaving = new AbortController();
    const asked = resolver.ask('a.example', 'ip', leaving.signal);
    leaving.abort();
    expect(await asked).toEqual(failure('canceled', /nobody waits/));
    expect(await resolver.ask('b.example', 'ip', AbortSignal.timeout(50))).toEqual(
      failure('timeout', /in time \(.*no answer yet\)/),
    );
  });

  test('a server that is not there is unreachable', async () => {
    const server = await serve();
    await server.close();
    const resolver = testResolver({ nameservers: [server], roots });
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', /connection refused/));
  });

  test('what a chain carries gets there, and over UDP as a byte stream', async () => {
    const server = scheme === 'udp' ? await serveTcp(answering) : await serve();
    const { dialTcp, dialled } = wrapping();
    const { port } = server.address;
    const address = parseNameserver(`${scheme}://dns.example:${String(port)}${server.address.path}`);
    const resolver = testResolver({ nameservers: [{ address, dialTcp, ttlMs: -1 }], roots });
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(await resolver.ask('a.example', 'ip6')).toEqual(['2001:db8::1']);
    // Its name is the chain's to look up. Only HTTP keeps its connection.
    const peer: [string, number] = ['dns.example', port];
    expect(dialled).toEqual(scheme === 'https' ? [peer] : [peer, peer]);
    resolver.close();
    await Promise.all([...server.connections].map((socket) => socket.destroyed || once(socket, 'close')));
  });

  test('a chain that does not mind the clock is not waited for', async () => {
    const server = scheme === 'udp' ? await serveTcp(answering) : await serve();
    const { promise, resolve: arrive } = withResolvers<Socket>();
    const resolver = testResolver({
      nameservers: [{ ...server, dialTcp: () => promise, timeoutMs: 100 }],
      roots,
    });
    expect(await resolver.ask('a.example')).toEqual(failure('timeout', /no answer within 100 ms/));
    const late = connect(server.address.port, '127.0.0.1');
    arrive(late);
    await once(late, 'close');
  });

  test('a chain that leads nowhere is a failure of that server', async () => {
    const server = await serve();
    const dialTcp: DialTcp = () => Promise.reject(new Error('no node'));
    const resolver = testResolver({ nameservers: [{ ...server, dialTcp }], roots });
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', /: no node$/));
  });
});

/** ES2024's `Promise.withResolvers`, which Node 20 has not. */
function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: ((value: T) => void) | undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve: resolve! };
}

/** A port that takes everything and says nothing. */
async function silentPort(scheme: string): Promise<number> {
  if (scheme === 'udp') {
    const socket = await bindUdp(() => {});
    onTestFinished(() => void socket.close());
    return socket.address().port;
  }
  const server = await listen(createServer(() => {}));
  onTestFinished(() => server.close());
  return server.port;
}

describe('datagrams', () => {
  test('that are no answer, or come from elsewhere, are dropped, and waiting goes on', async () => {
    const spoofed = (query: Parameters<typeof replyTo>[0], id = query.id!) =>
      replyTo({ ...query, id }, { answers: records('a.example', ['192.0.2.66']) });
    const other = await bindUdp(() => {});
    onTestFinished(() => void other.close());
    const socket = await bindUdp((bytes, from) => {
      const query = dnsPacket.decode(bytes);
      const send = (reply: Buffer) => {
        socket.send(reply, from.port, from.address);
      };
      // The right answer from the wrong port; the last one is sent when that has arrived.
      other.send(spoofed(query), from.port, from.address, () => {
        send(Buffer.alloc(0));
        send(Buffer.from('garbage'));
        send(bytes);
        send(spoofed(query, (query.id! + 1) & 0xffff));
        send(spoofed(query).subarray(0, -3));
        send(replyTo({ ...query, questions: [{ name: 'b.example', type: 'A' }] }));
        send(replyTo(query, { answers: records('a.example', ['192.0.2.1']) }));
      });
    });
    onTestFinished(() => void socket.close());
    const address = parseNameserver(`127.0.0.1:${String(socket.address().port)}`);
    const resolver = testResolver({ nameservers: [{ address }] });
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
  });

  test('that were dropped are counted when the time is over', async () => {
    const server = await serveUdp((_query, bytes) => bytes);
    const resolver = testResolver({ nameservers: [{ ...server, timeoutMs: 100 }] });
    expect(await resolver.ask('a.example')).toEqual(
      failure('timeout', /a datagram that was no answer was dropped/),
    );
  });

  test('come from a port of their own each time', async () => {
    const ports = new Set<number>();
    const socket = await bindUdp((bytes, from) => {
      ports.add(from.port);
      socket.send(answering(dnsPacket.decode(bytes), bytes)!, from.port, from.address);
    });
    onTestFinished(() => void socket.close());
    const address = parseNameserver(`127.0.0.1:${String(socket.address().port)}`);
    const resolver = testResolver({ nameservers: [{ address, ttlMs: -1 }] });
    for (let index = 0; index < 8; index++) await resolver.ask('a.example');
    expect(ports.size).toBeGreaterThan(4);
  });

  test('that got lost are sent again', async () => {
    let seen = 0;
    const server = await serveUdp((query, bytes) => (++seen === 1 ? undefined : answering(query, bytes)));
    const resolver = testResolver({ nameservers: [server] });
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(server.queries[1]!.id).toBe(server.queries[0]!.id);
  });

  test('too small for the answer are followed by TCP', async () => {
    const server = await serveUdp((query) => replyTo(query, { truncated: true }), answering);
    const resolver = testResolver({ nameservers: [server] });
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(server.queries).toHaveLength(2);
  });

  test('are no way around a server without TCP', async () => {
    const server = await serveUdp((query) => replyTo(query, { truncated: true }));
    const resolver = testResolver({ nameservers: [server] });
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', /connection refused/));
  });
});

describe('byte streams', () => {
  const serveBytes = async (respond: (stream: Socket, query: Buffer) => void) => {
    const server = await listen(
      createServer((stream) => stream.once('data', (bytes) => respond(stream, bytes.subarray(2)))),
    );
    onTestFinished(() => server.close());
    const address = parseNameserver(`tcp://127.0.0.1:${String(server.port)}`);
    return testResolver({ nameservers: [{ address, ttlMs: -1, timeoutMs: 2000 }] });
  };

  test('may be split anywhere', async () => {
    let cuts: number[] = [];
    const resolver = await serveBytes((stream, query) => {
      const whole = framed(answering(dnsPacket.decode(query), query)!);
      const pieces = [0, ...cuts.map((cut) => cut % whole.length).sort((a, b) => a - b), whole.length];
      stream.setNoDelay();
      const writeNext = (index: number) => {
        if (index < pieces.length)
          stream.write(whole.subarray(pieces[index - 1], pieces[index]), () => writeNext(index + 1));
      };
      writeNext(1);
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(60), { maxLength: 8 }), async (next) => {
        cuts = next;
        expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
      }),
      { numRuns: 40 },
    );
  });

  test.each<[string, (stream: Socket, query: Buffer) => void, RegExp]>([
    ['closed', (stream) => stream.end(), /without an answer/],
    ['reset', (stream) => stream.resetAndDestroy(), /reset/],
    ['cut short', (stream) => stream.end(Buffer.from([0, 40, 1, 2])), /cut short/],
    ['empty', (stream) => stream.end(Buffer.from([0, 0])), /no DNS message/],
    ['a question', (stream, query) => stream.end(framed(query)), /a question itself/],
    [
      'truncated',
      (stream, query) => stream.end(framed(replyTo(dnsPacket.decode(query), { truncated: true }))),
      /does not fit/,
    ],
    ['no DNS', (stream) => stream.end('HTTP/1.1 400 Bad Request\r\n\r\n'), /cut short/],
  ])('that are %s are a failure of that server', async (_what, respond, why) => {
    const resolver = await serveBytes(respond);
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', why));
  });

  test('are closed after the answer', async () => {
    const server = await serveTcp(answering);
    const resolver = testResolver({ nameservers: [server] });
    await resolver.ask('a.example');
    await Promise.all([...server.connections].map((socket) => socket.destroyed || once(socket, 'close')));
    expect(server.connections.size).toBe(0);
  });
});
