import type * as net from 'node:net';
import * as tls from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { createAuthority } from '../testing/certificates.ts';
import type { Endpoint, TlsSettings } from './endpoint.ts';
import { closeAll, endpointAt, failure, listen, open, post, toClose } from './http-peer.fixture.ts';
import { createHttp1Server } from './http-server.ts';

afterEach(closeAll);

const authority = createAuthority();
const trusting: TlsSettings = { ca: [authority.cert] };
const certificate = authority.issue({ names: ['127.0.0.1'] });

/** Our own server behind TLS; it answers with what it was asked. */
async function serve(options: tls.TlsOptions): Promise<{ port: number; handshakes: () => number }> {
  let handshakes = 0;
  const server = createHttp1Server({
    handler: (request) => ({ status: 200, body: request.body.toString() }),
  });
  const listener = tls.createServer({ ALPNProtocols: ['h2', 'http/1.1'], ...options }, (socket) => {
    handshakes++;
    server.handleSocket(socket);
  });
  const sockets = new Set<net.Socket>();
  listener.on('connection', (socket: net.Socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  toClose(async () => {
    await server.close(0);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => listener.close(resolve));
  });
  return { port: (listener.address() as net.AddressInfo).port, handshakes: () => handshakes };
}

function secure(port: number, settings: TlsSettings): Endpoint {
  return { ...endpointAt(port), tls: settings };
}

describe('HTTP over TLS', () => {
  it('carries calls of any size over kept connections', async () => {
    const { port, handshakes } = await serve(certificate);
    const client = open(secure(port, trusting));
    for (const body of ['{}', 'x'.repeat(200_000), 'é', '{}']) {
      expect((await client.request({ ...post, body })).body.toString()).toBe(body);
    }
    expect(handshakes()).toBe(1);
    await Promise.all(Array.from({ length: 20 }, () => client.request(post)));
    await client.close();
  });

  it.each([
    ['an expired certificate', authority.issue({ names: ['127.0.0.1'], expired: true }), 'has expired'],
    ['a wrong host name', authority.issue({ names: ['other.test'] }), 'tls.serverName'],
    ['a stranger’s certificate', createAuthority('stranger').issue({ names: ['127.0.0.1'] }), 'tls.caFile'],
  ])('sends nothing behind %s', async (_name, shown, words) => {
    const { port } = await serve(shown);
    const error = await failure(open(secure(port, trusting)).request(post));
    expect(error).toMatchObject({ code: 'unreachable', unsent: true });
    expect(error.message).toContain(words);
  });

  it('shows its own certificate, and says when that is not taken', async () => {
    const wanting = { ...certificate, ca: [authority.cert], requestCert: true, rejectUnauthorized: true };
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      const { port } = await serve({ ...wanting, maxVersion });
      const own = authority.issue({ names: ['proxy.test'] });
      expect((await open(secure(port, { ...trusting, ...own })).request(post)).body.toString()).toBe('{}');
      // Node's server hangs up on a client without a certificate; others send an alert.
      const error = await failure(open(secure(port, trusting)).request(post));
      expect(['unauthenticated', 'unreachable']).toContain(error.code);
    }
  });

  it('says that a plain port does not speak TLS', async () => {
    const peer = await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const error = await failure(open(secure(peer.port, trusting)).request(post));
    expect(error).toMatchObject({ code: 'unreachable', unsent: true });
    expect(error.message).toContain('does not speak TLS: remove the tls setting');
  });

  it('says that a TLS port is spoken to in the clear', async () => {
    const { port } = await serve(certificate);
    const error = await failure(open(endpointAt(port)).request(post));
    expect(['badReply', 'unreachable']).toContain(error.code);
    // Node's server sends an alert first; one that only hangs up cannot be told from a broken one.
    expect(error.message).toMatch(/speaks TLS: write https:|closed the connection without an answer/);
  });

  it('ends a call whose connection breaks', async () => {
    const listener = tls.createServer(certificate, (socket) => {
      socket.on('error', () => {});
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx', () => socket.destroy());
      });
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    toClose(() => new Promise((resolve) => listener.close(resolve)));
    const { port } = listener.address() as net.AddressInfo;
    const error = await failure(open(secure(port, trusting)).request(post));
    expect(['badReply', 'unreachable']).toContain(error.code);
    expect(error.unsent).toBe(false);
  });
});
