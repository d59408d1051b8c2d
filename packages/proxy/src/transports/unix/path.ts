import type { Address } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';

/** A peer whose socket has no name, as most clients' have none. */
export const unnamed: Address = { host: '@', port: 0 };

/** The longest path that a unix socket can have on Linux, in bytes; a longer one would be cut without a word. */
const maxPathBytes = 107;

/** What Node calls the socket: its path, or a zero byte and a name where it is abstract (`@name`; Linux only). */
export function socketPath({ host }: Address): string {
  if (Buffer.byteLength(host) > maxPathBytes) {
    const message = `the path of a unix socket has at most ${String(maxPathBytes)} bytes: ${host}`;
    throw new ProxyError('malformedRequest', 'self', message);
  }
  if (host.startsWith('@')) return `\0${host.slice(1)}`;
  if (host === '' || host.includes('\0'))
    throw new ProxyError('malformedRequest', 'self', `${JSON.stringify(host)} is no path of a unix socket`);
  return host;
}
