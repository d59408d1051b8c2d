import type { SecureContext } from 'node:tls';
import type { NameserverAddress } from './address.ts';
import { limited } from './exchange.ts';
import type { DialTcp, Exchange } from './exchange.ts';
import { createHttpsExchange } from './exchange-https.ts';
import { createStreamExchange, dialDirect, dialTls } from './exchange-stream.ts';
import { createUdpExchange } from './exchange-udp.ts';
import type { AddressType } from './message.ts';

/** GOST's `nameservers` entry. */
export interface Nameserver {
  readonly address: NameserverAddress;
  /** Only this family is ever asked for, also when the asker wants the other one. */
  readonly only?: 'ipv4' | 'ipv6';
  /** This family is asked for first, and the other one only when it has no address. Default `ipv4`. */
  readonly prefer?: 'ipv4' | 'ipv6';
  /** Tells the nameserver where the client is (RFC 7871): a network of 24 bits for IPv4, the whole address for IPv6. */
  readonly clientIP?: string;
  /** The name in the certificate of a `tls` or `https` nameserver. Default: the address's host. */
  readonly hostname?: string;
  /**
   * How long its answers are remembered. Above 0: so long; below 0: not at all. Default, and 0: as the records say. That
   * there is no address is never remembered for longer than the nameserver says, nor for more than a minute.
   */
  readonly ttlMs?: number;
  /** For one lookup at this nameserver, both families together. Default 5 s. */
  readonly timeoutMs?: number;
  /**
   * What has expired is answered once more, for at most a day (RFC 8767, section 5), and asked anew in the background.
   * Default false.
   */
  readonly async?: boolean;
  /**
   * The way through the nameserver's `chain`. A `udp` nameserver is then asked over TCP, as a chain carries streams.
   * Absent: directly.
   */
  readonly dialTcp?: DialTcp;
}

const defaultTimeoutMs = 5_000;

/** The longest that a timer of Node's can be set to. */
const maxTimeoutMs = 2 ** 31 - 1;

/** Questions that one nameserver is asked at once: each has a port of its own, or a connection, or shares few of them. */
const maxAtOnce = { udp: 256, tcp: 64, tls: 64, https: 16 } as const;

/** One nameserver, ready to be asked. */
export interface Server {
  /** For people. */
  readonly text: string;
  readonly ask: Exchange;
  readonly timeoutMs: number;
  readonly ttlMs: number;
  readonly async: boolean;
  readonly clientIP: string | undefined;
  /** What to ask for, one after the other until there is an address. */
  types(network: string): readonly AddressType[];
  close(): void;
}

/** Makes a nameserver ready; nothing is connected yet. `context` is what servers are verified with. */
export function createServer(nameserver: Nameserver, context: () => SecureContext): Server {
  const { address, hostname, only, prefer, clientIP, ttlMs = 0, async = false } = nameserver;
  const { scheme, host, port, text } = address;
  const timeoutMs = Math.min(nameserver.timeoutMs || defaultTimeoutMs, maxTimeoutMs);
  const dial = nameserver.dialTcp ?? dialDirect;
  const peer = { name: hostname ?? host, context };
  const overTcp = createStreamExchange((signal) => dial(host, port, signal));
  let ask = overTcp;
  let close = () => {};
  switch (scheme) {
    case 'udp':
      if (nameserver.dialTcp === undefined) ask = createUdpExchange(address, overTcp);
      break;
    case 'tcp':
      break;
    case 'tls':
      ask = createStreamExchange((signal) => dialTls(dial, host, port, peer, signal));
      break;
    case 'https':
      ({ ask, close } = createHttpsExchange({
        address,
        dial,
        peer: { ...peer, alpn: ['http/1.1'] },
        connectTimeoutMs: timeoutMs,
      }));
  }
  return {
    text,
    ask: limited(ask, maxAtOnce[scheme]),
    timeoutMs,
    ttlMs,
    async,
    clientIP,
    types(network) {
      if (only !== undefined) return only === 'ipv4' ? ['A'] : ['AAAA'];
      if (network.endsWith('4')) return ['A'];
      if (network.endsWith('6')) return ['AAAA'];
      return prefer === 'ipv6' ? ['AAAA', 'A'] : ['A', 'AAAA'];
    },
    close,
  };
}
