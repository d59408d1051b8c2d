// How two proxies of these suites are joined: what carries a connection, with its certificates, and chains of one node.
import { randomInt } from 'node:crypto';
import { createLinkFiles } from '../common/links.ts';
import type { LinkFiles } from '../common/links.ts';

/** Everything that carries a connection to a node, by GOST's names of the listener and the dialer. */
export const carriers = ['tcp', 'tls', 'ws', 'wss', 'mtcp', 'mtls', 'mws', 'mwss'] as const;
export type Carrier = (typeof carriers)[number];

/** What both ends of a link read from a configuration. */
export interface Links {
  /** An object of a configuration with this type, and with `tls` where the type wants it. */
  server(type: string): Readonly<Record<string, unknown>>;
  client(type: string): Readonly<Record<string, unknown>>;
  remove(): void;
}

/** Makes the certificates. Whoever made them calls `remove`. */
export function createLinks(): Links {
  const files: LinkFiles = createLinkFiles();
  const withTls = (type: string, tls: object) =>
    /^(tls|wss|mtls|mwss|socks5)$/.test(type) ? { type, tls } : { type };
  const own = { certFile: files.at('server.pem'), keyFile: files.at('server.key') };
  const trust = { secure: true, serverName: 'localhost', caFile: files.at('ca.pem') };
  return {
    server: (type) => withTls(type, own),
    client: (type) => withTls(type, trust),
    remove: () => {
      files.remove();
    },
  };
}

/** A chain of one node. */
export function chainOf(name: string, node: object): Readonly<Record<string, unknown>> {
  return { name, hops: [{ name: `hop-of-${name}`, nodes: [{ name: 'node', ...node }] }] };
}

/** A loopback address that nobody else has: its ports are free, whoever else runs. */
export function ownAddress(): string {
  return `127.${String(randomInt(1, 255))}.${String(randomInt(1, 255))}.${String(randomInt(1, 255))}`;
}
