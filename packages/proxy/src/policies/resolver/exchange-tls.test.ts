import { once } from 'node:events';
import { createServer } from 'node:net';
import { createAuthority } from '@sallyport/plugin/testing';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseNameserver } from './address.ts';
import { listen, respondHttps, serveHttps, serveTls, zone } from './dns-server.fixture.ts';
import type { HandleHttps } from './dns-server.fixture.ts';
import type { DialTcp } from './exchange.ts';
import { dialDirect } from './exchange-stream.ts';
import { testResolver } from './resolver.fixture.ts';

const authority = createAuthority();
const certificate = authority.issue({ names: ['dns.example', '127.0.0.1'] });
const roots = [authority.cert];
const answering = zone({ 'a.example': ['192.0.2.1', '2001:db8::1'] });

const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ name: 'PluginError', code, message: expect.stringMatching(message) as string });

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
    const server = await serveHttps(certificate, respondHttps(zone({}, 0)));
    let dialled = 0;
    const dialTcp: DialTcp = (host, port, signal) => {
      dialled++;
      return dialDirect(host, port, signal);
    };
    const resolver = testResolver({ nameservers: [{ ...server, dialTcp }], roots });
    const asked = Array.from({ length: 60 }, (_, index) => resolver.ask(`${String(index)}.example`));
    expect(await Promise.all(asked)).toEqual(asked.map(() => []));
    expect(server.queries).toHaveLength(60);
    expect(dialled).toBeGreaterThan(1);
    // Some are kept, and those beyond are opened anew.
    expect(dialled).toBeLessThan(40);
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
