import type { IncomingHttpHeaders } from 'node:http';
import type { Address } from '../../core/conn.ts';
import { createIpSet } from '../../core/match/ip-set.ts';
import { formatIp, ipOfPeer, networkOfOne, parseIp, parseNetwork } from '../../core/match/ip.ts';

/** Says whether a host is a proxy that speaks for others. */
export type Trusts = (host: string) => boolean;

/** Of IP addresses and networks, as the file has them. */
export function createTrusts(networks: readonly string[]): Trusts {
  const set = createIpSet<true>();
  for (const text of networks) {
    const ip = parseIp(text);
    const network = ip === undefined ? parseNetwork(text) : networkOfOne(ip);
    if (network !== undefined) set.add(network, true);
  }
  return (host) => {
    const ip = ipOfPeer(host);
    return ip !== undefined && set.mostSpecific(ip) !== undefined;
  };
}

/**
 * Who connected: the peer itself, unless it is trusted; then `via` is the peer, and `remote` whom it speaks for. That is
 * the last address of X-Forwarded-For that is not a trusted proxy's, as everything before it is what a stranger says (GOST
 * takes the first, which a client can choose); or CF-Connecting-IP; or X-Real-Ip. Where none of them says it, the peer.
 */
export function clientAddress(
  peer: Address,
  headers: IncomingHttpHeaders,
  trusts: Trusts,
): { readonly remote: Address; readonly via?: Address } {
  if (!trusts(peer.host)) return { remote: peer };
  const host =
    forwardedFor(headers['x-forwarded-for'], trusts) ??
    addressIn(headers['cf-connecting-ip']) ??
    addressIn(headers['x-real-ip']);
  return { remote: host === undefined ? peer : { host, port: 0 }, via: peer };
}

function forwardedFor(value: string | string[] | undefined, trusts: Trusts): string | undefined {
  let client: string | undefined;
  for (const entry of String(value ?? '')
    .split(',')
    .reverse()) {
    const host = addressIn(entry);
    if (host === undefined) return client;
    client = host;
    if (!trusts(host)) return client;
  }
  return client;
}

function addressIn(text: string | string[] | undefined): string | undefined {
  const ip = typeof text === 'string' ? ipOfPeer(text.trim()) : undefined;
  return ip === undefined ? undefined : formatIp(ip);
}
