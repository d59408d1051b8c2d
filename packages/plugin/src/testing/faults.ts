import type { Contract, Methods, PluginTransport } from '../contract.ts';
import type { PluginErrorCode } from '../errors.ts';
import type { Authority } from './certificates.ts';
import type { Fault } from './fault.ts';
import { authorities, serveWell, startFaultServer } from './fault-server.ts';
import type { FaultRow, FaultServerOptions } from './fault-server.ts';
import { grpcFaults } from './faults-grpc.ts';
import { h2Faults } from './faults-h2.ts';
import { httpFaults } from './faults-http.ts';

/**
 * Every way of failing that a client of this contract must survive: connections that are refused, hung, cut or reset, wrong
 * certificates and tokens, answers that are late, endless, oversized, cut short, redirected or garbage. Each is a server on
 * raw sockets that gives the right answer wherever its fault does not forbid it, so that a client that overlooks the fault
 * is caught.
 */
export function faultsOf<M extends Methods>(
  contract: Contract<M>,
  transport: PluginTransport,
): readonly Fault[] {
  const plain = contract as unknown as Contract;
  const rows = [
    ...connectionFaults(plain, transport),
    ...tlsFaults(plain, transport),
    ...(transport === 'grpc' ? [...grpcFaults(plain), ...h2Faults(plain)] : httpFaults(plain)),
  ];
  const faults = rows.map(
    ({ name, expected, hangs = false, methods = Object.keys(contract.methods), options }): Fault => ({
      name,
      transport,
      expected,
      hangs,
      methods,
      start: () => startFaultServer(options()),
    }),
  );
  return faults.filter(({ methods }) => methods.length > 0);
}

function connectionFaults(contract: Contract, transport: PluginTransport): readonly FaultRow[] {
  const on = (onSocket: FaultServerOptions['onSocket']) => () => ({ onSocket });
  // What a client makes of foreign words depends on where it was in its own.
  const foreign: readonly PluginErrorCode[] =
    transport === 'grpc' ? ['unreachable', 'badReply'] : ['badReply'];
  return [
    {
      name: 'refused',
      expected: ['unreachable'],
      options: () => ({ refuses: true, onSocket: () => {} }),
    },
    {
      name: 'hung: accepts and says nothing',
      expected: ['timeout'],
      hangs: true,
      options: on((socket) => void socket.resume()),
    },
    {
      name: 'hung: accepts and does not even read',
      expected: ['timeout'],
      hangs: true,
      options: on((socket) => void socket.pause()),
    },
    { name: 'closed at once', expected: ['unreachable'], options: on((socket) => void socket.end()) },
    {
      name: 'reset at once',
      expected: ['unreachable'],
      options: on((socket) => void socket.resetAndDestroy()),
    },
    {
      name: 'closed when the question has come',
      expected: ['unreachable'],
      options: on((socket) => void socket.on('data', () => socket.destroy())),
    },
    {
      name: 'garbage',
      expected: foreign,
      options: on((socket) => void socket.on('data', () => socket.end(garbage))),
    },
    {
      name: 'another service, which speaks first',
      expected: foreign,
      options: on((socket) => void socket.resume().end('220 mail.example ESMTP ready\r\n')),
    },
    {
      name: 'a TLS alert in a plain conversation',
      expected: foreign,
      options: on((socket) => void socket.resume().end(Buffer.from([0x15, 3, 3, 0, 2, 2, 40]))),
    },
    {
      name: 'a wrong token',
      expected: ['unauthenticated'],
      options: () => ({ onSocket: serveWell(contract, transport, 'the-token'), token: 'another-token' }),
    },
    {
      name: 'no token where one is asked for',
      expected: ['unauthenticated'],
      options: () => ({ onSocket: serveWell(contract, transport, 'the-token') }),
    },
  ];
}

/** The same on every run, and the beginning of no protocol. */
const garbage = Buffer.from(
  Array.from({ length: 4_000 }, (_, i) => 0x80 + ((i * 197 + (i >> 3) * 31) % 0x80)),
);

function tlsFaults(contract: Contract, transport: PluginTransport): readonly FaultRow[] {
  const host = '127.0.0.1';
  const row = (
    name: string,
    make: () => Pick<FaultServerOptions, 'serverTls' | 'tls'>,
    expected: readonly PluginErrorCode[] = ['unreachable'],
  ): FaultRow => ({
    name,
    expected,
    options: () => ({ onSocket: serveWell(contract, transport), ...make() }),
  });
  const trusted = () => ({ ca: [authorities().authority.cert] });
  const issue: Authority['issue'] = (request) => authorities().authority.issue(request);
  return [
    row('an expired certificate', () => ({
      serverTls: issue({ names: [host], expired: true }),
      tls: trusted(),
    })),
    row('a certificate of tomorrow', () => ({
      serverTls: issue({ names: [host], notYetValid: true }),
      tls: trusted(),
    })),
    row('a self-signed certificate', () => ({
      serverTls: issue({ names: [host], selfSigned: true }),
      tls: trusted(),
    })),
    row('a certificate of an unknown authority', () => ({
      serverTls: authorities().stranger.issue({ names: [host] }),
      tls: trusted(),
    })),
    row('a wrong host name', () => ({ serverTls: issue({ names: ['other.test'] }), tls: trusted() })),
    row('a wrong server name', () => ({
      serverTls: issue({ names: [host] }),
      tls: { ...trusted(), serverName: 'plugin.test' },
    })),
    row(
      'a client certificate is asked for and none is there',
      () => ({
        serverTls: { ...issue({ names: [host] }), ca: authorities().authority.cert },
        tls: trusted(),
      }),
      // With TLS 1.3 the refusal comes after the handshake and may be lost when the connection is reset.
      ['unauthenticated', 'unreachable'],
    ),
    row('plain text where TLS is asked for', () => ({ tls: trusted() })),
    {
      name: 'hung before the TLS handshake',
      expected: ['timeout'],
      hangs: true,
      options: () => ({ onSocket: (socket) => void socket.resume(), tls: trusted() }),
    },
  ];
}
