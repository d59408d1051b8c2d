import { ruleError, trimRule } from '../../core/match/rule-error.ts';

/** Where a Redis is: a host and a port, or the path of a unix socket. */
export type RedisAddress = { readonly host: string; readonly port: number } | { readonly path: string };

const hostAndPort = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s/@]*)):(\d{1,5})$/;

/** Reads `127.0.0.1:6379`, `[::1]:6379`, `:6379` (this machine), or the path of a unix socket. Throws TypeError. */
export function parseRedisAddress(text: string): RedisAddress {
  const written = trimRule(text);
  if (/^\.{0,2}\/[^\0]+$/.test(written)) return { path: written };
  const match = hostAndPort.exec(written);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65535) {
    // It may hold a password, and is not shown.
    if (/^rediss?:/i.test(written))
      throw new TypeError(
        'is a URL; write `host:port`, and `db`, `username` and `password` as keys beside it',
      );
    throw ruleError(written, 'is no address such as `127.0.0.1:6379`');
  }
  const host = match[1] ?? match[2]!;
  return { host: host === '' ? '127.0.0.1' : host, port };
}

/** As events and messages name it: `redis://127.0.0.1:6379/0`, `unix:/path`. Never with credentials. */
export function formatRedis(address: RedisAddress, db: number): string {
  if ('path' in address) return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `redis://${host}:${String(address.port)}/${String(db)}`;
}
