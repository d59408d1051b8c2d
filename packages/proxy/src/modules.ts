import type { Handler, Protocol } from './core/protocol.ts';
import type { Transport } from './core/way.ts';
import { auto } from './protocols/auto/index.ts';
import { forward, rtcpForward, rudpForward, tcpForward, udpForward } from './protocols/forward/index.ts';
import { http } from './protocols/http/index.ts';
import { relay } from './protocols/relay/index.ts';
import { router } from './protocols/router/index.ts';
import { sni } from './protocols/sni/index.ts';
import { socks4 } from './protocols/socks4/index.ts';
import { socks5 } from './protocols/socks5/index.ts';
import { tunSite } from './protocols/tun/index.ts';
import { tunnel } from './protocols/tunnel/index.ts';
import { createMux } from './transports/mux/index.ts';
import { rtcp, rudp } from './transports/remote/index.ts';
import { tcp } from './transports/tcp/index.ts';
import { tls } from './transports/tls/index.ts';
import { tun } from './transports/tun/index.ts';
import { udp } from './transports/udp/index.ts';
import { unix } from './transports/unix/index.ts';
import { ws } from './transports/ws/index.ts';

/** How bytes are carried, by the word of the file: layers, the lowest first. A new row is a new listener and dialer. */
const stacks = {
  tcp: [tcp],
  tls: [tcp, tls],
  ws: [tcp, ws],
  wss: [tcp, tls, ws],
  // smux's versions are GOST's; both ends must have the same.
  mtcp: [tcp, createMux({ version: 2 })],
  mtls: [tcp, tls, createMux({ version: 1 })],
  mws: [tcp, ws, createMux({ version: 1, overWebSocket: true })],
  mwss: [tcp, tls, ws, createMux({ version: 1, overWebSocket: true })],
  unix: [unix],
  udp: [udp],
  rtcp: [rtcp],
  rudp: [rudp],
  tun: [tun],
} as const satisfies Readonly<Record<string, readonly [Transport, ...Transport[]]>>;

/** What bytes ask for: both ends of each. */
const protocols: readonly Protocol[] = [
  // What `auto` hands a connection over to reads its own keys there.
  { ...auto, handler: withMetadataOf(auto.handler!, [socks4, socks5, http]) },
  ...[http, socks5, socks4, relay, sni, tcpForward, udpForward, rtcpForward, rudpForward, forward],
  ...[tunnel, router, tunSite],
];

/** THE list of what ships. A module that is not in it does not exist. Built-in policies stand in `config/build/policies`. */
export const modules = { stacks, protocols } as const;

function withMetadataOf(handler: Handler, others: readonly Protocol[]): Handler {
  const theirs = others.map((other) => other.handler?.metadata ?? {});
  return { ...handler, metadata: Object.assign({}, ...theirs, handler.metadata) as Handler['metadata'] };
}
