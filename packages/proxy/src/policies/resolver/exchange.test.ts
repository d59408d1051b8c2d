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
import type { HandleHttps } from './dns-server.fixture.ts';
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
    const once: [string, number] = ['dns.example', port];
    expect(dialled).toEqual(scheme === 'https' ? [once] : [once, once]);
  });

  test('a chain that leads nowhere is a failure of that server', async () => {
    const server = await serve();
    const dialTcp: DialTcp = () => Promise.reject(new Error('no node'));
    const resolver = testResolver({ nameservers: [{ ...server, dialTcp }], roots });
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', /: no node$/));
  });
});

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

describe.each([
  ['tls', (issued: typeof certificate) => serveTls(issued, answering)],
  ['https', (issued: typeof certificate) => serveHttps(issued, respondHttps(answering))],
])('the certificate of a server over %s', (_scheme, serve) => {
  test('is for `hostname` where that is given', async () => {
    const server = await serve(authority.issue({ names: ['dns.example'] }));
    const right = testResolver({ nameservers: [{ ...server, hostname: 'dns.example' }], roots });
    expect(await right.ask('a.example')).toEqual(['192.0.2.1']);
    const none = testResolver({ nameservers: [server], roots });
    expect(await none.ask('a.example')).toEqual(failure('unreachable', /another name \(`hostname`/));
    const wrong = testResolver({ nameservers: [{ ...server, hostname: 'other.example' }], roots });
    expect(await wrong.ask('a.example')).toEqual(failure('unreachable', /another name/));
    expect(server.queries).toHaveLength(1);
  });

  test.each([
    ['expired', { expired: true }, /has expired/],
    ['not valid yet', { notYetValid: true }, /not valid yet/],
    ['signed by itself', { selfSigned: true }, /nobody but itself/],
  ])('that is %s is not believed', async (_what, request, why) => {
    const server = await serve(authority.issue({ names: ['127.0.0.1'], ...request }));
    const resolver = testResolver({ nameservers: [server], roots });
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', why));
    expect(server.queries).toHaveLength(0);
  });

  test('of an unknown authority is not believed, also with the roots of the system', async () => {
    const server = await serve(certificate);
    const resolver = testResolver({ nameservers: [server] });
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', /not trusted here/));
  });

  test('is missing where no TLS is spoken', async () => {
    const server = await serve(certificate);
    const plain = await listen(createServer((stream) => stream.end('no TLS here\r\n')));
    onTestFinished(() => plain.close());
    const address = { ...server.address, port: plain.port };
    expect(await testResolver({ nameservers: [{ address }], roots }).ask('a.example')).toEqual(
      failure('unreachable', /TLS|closed the connection|reset/),
    );
    const rude = await listen(createServer((stream) => stream.once('data', () => stream.end())));
    onTestFinished(() => rude.close());
    const other = { ...server.address, port: rude.port };
    expect(await testResolver({ nameservers: [{ address: other }], roots }).ask('a.example')).toEqual(
      failure('unreachable', /TLS|closed the connection|reset|disconnected/),
    );
  });
});

describe('HTTPS', () => {
  const serve = async (handle: HandleHttps) => {
    const server = await serveHttps(certificate, handle);
    return {
      server,
      resolver: testResolver({ nameservers: [{ ...server, ttlMs: -1, timeoutMs: 2000 }], roots }),
    };
  };

  test('is asked by POST, on a connection that is kept', async () => {
    const seen: unknown[] = [];
    const { server, resolver } = await serve((request, response, query) => {
      const { method, url, headers } = request;
      seen.push({ method, url, host: headers.host, type: headers['content-type'], accept: headers.accept });
      respondHttps(answering)(request, response, query);
    });
    for (let index = 0; index < 3; index++) expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    const { port } = server.address;
    const type = 'application/dns-message';
    expect(seen).toEqual(
      Array.from({ length: 3 }, () => ({
        method: 'POST',
        url: '/dns-query',
        host: `127.0.0.1:${String(port)}`,
        type,
        accept: type,
      })),
    );
    expect(server.connections.size).toBe(1);
    const [kept] = server.connections;
    resolver.close();
    await once(kept!, 'close');
    expect(await resolver.ask('a.example')).toEqual(failure('canceled', /closed/));
  });

  test('that ends a kept connection is asked once more', async () => {
    let requests = 0;
    const { server, resolver } = await serve((request, response, query) => {
      // The second request arrives on the kept connection, which breaks before a byte of an answer.
      if (++requests === 2) request.socket.destroy();
      else respondHttps(answering)(request, response, query);
    });
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(server.queries).toHaveLength(3);
  });

  test('has a few connections for many questions', async () => {
    const { server, resolver } = await serve(respondHttps(zone({}, 0)));
    let most = 0;
    const count = () => (most = Math.max(most, server.connections.size));
    const asked = Array.from({ length: 60 }, (_, index) =>
      resolver.ask(`${String(index)}.example`).finally(count),
    );
    expect(await Promise.all(asked)).toEqual(asked.map(() => []));
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(16);
  });

  const type = { 'content-type': 'application/dns-message' };
  test.each<[string, HandleHttps, RegExp]>([
    ['a redirect', (_, response) => response.writeHead(302, { location: '/other' }).end(), /302; redirects/],
    ['status 500', (_, response) => response.writeHead(500).end(), /status 500/],
    ['status 204', (_, response) => response.writeHead(204, type).end(), /status 204/],
    [
      'a page',
      (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>'),
      /not of type/,
    ],
    ['nothing', (_, response) => response.writeHead(200, type).end(), /no DNS message/],
    ['garbage', (_, response) => response.writeHead(200, type).end('x'.repeat(100)), /another question/],
    [
      '70,000 bytes',
      (_, response) => response.writeHead(200, type).end(Buffer.alloc(70_000)),
      /longer than any/,
    ],
    [
      'a part',
      (_, response, query) => {
        const whole = answering(query, Buffer.alloc(0))!;
        response.writeHead(200, { ...type, 'content-length': whole.length + 1 });
        response.write(whole, () => response.destroy());
      },
      /cut short/,
    ],
    ['a reset', (request) => request.socket.destroy(), /reset|hang up/],
    ['no HTTP', (request) => request.socket.end('SSH-2.0-x\r\n'), /./],
  ])('that answers with %s has not answered', async (_what, handle, why) => {
    const { resolver } = await serve(handle);
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', why));
    // The next question is not hurt by the last one.
    expect(await resolver.ask('a.example')).toEqual(failure('unreachable', why));
  });

  test('that trickles is ended by the clock', async () => {
    const timers = new Set<NodeJS.Timeout>();
    onTestFinished(() => {
      for (const timer of timers) clearInterval(timer);
    });
    const server = await serveHttps(certificate, (_, response) => {
      response.writeHead(200, { ...type, 'content-length': 1000 });
      timers.add(setInterval(() => response.write('x'), 20));
    });
    const resolver = testResolver({ nameservers: [{ ...server, timeoutMs: 200 }], roots });
    expect(await resolver.ask('a.example')).toEqual(failure('timeout', /200 ms/));
  });

  test('without a handshake in time leaves nothing open', async () => {
    const server = await listen(createServer((stream) => stream.resume()));
    onTestFinished(() => server.close());
    const address = parseNameserver(`https://127.0.0.1:${String(server.port)}/`);
    const resolver = testResolver({ nameservers: [{ address, timeoutMs: 100 }], roots });
    expect(await resolver.ask('a.example')).toEqual(failure('timeout', /100 ms/));
    await Promise.all([...server.connections].map((socket) => socket.destroyed || once(socket, 'close')));
    expect(server.connections.size).toBe(0);
  });
});
