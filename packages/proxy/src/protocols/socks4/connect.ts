import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { Handshake } from '../../core/handshake.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import type { Context } from '../../core/way.ts';
import { formatSocks4Request, parseSocks4Reply, socks4Codes, socks4Commands } from '../../wire/socks4.ts';
import type { ConnectorMetadata } from './options.ts';

/**
 * Asks a SOCKS4 node for a connection: by SOCKS4a where the target is a name, unless `disable4a`; then the system is asked for
 * an IPv4 address. Rejects with ProxyError as {@link Connector.connect}, and `unsupported` for an IPv6 address, which SOCKS4
 * cannot ask for, or `nameNotFound`.
 */
export async function connectSocks4(
  node: Conn,
  target: Address,
  options: ConnectorOptions,
  context: Context,
): Promise<Conn> {
  const handshake = new Handshake(node, { side: 'upstream', signal: context.signal });
  try {
    const { disable4a = false } = options.metadata as ConnectorMetadata;
    const address =
      disable4a && isIP(target.host) === 0 ? await handshake.wait(() => resolve(target)) : target;
    const refused = address === target ? undefined : context.refuses?.(address);
    if (refused !== undefined) throw refused;
    const userId = options.auth?.username ?? '';
    await handshake.write(formatSocks4Request({ command: socks4Commands.connect, address, userId }));
    const { code } = await handshake.read(parseSocks4Reply);
    if (code !== socks4Codes.granted) throw refusal(code, target, options.node);
    return node;
  } catch (error) {
    node.reset();
    throw error;
  } finally {
    handshake.done();
  }
}

async function resolve({ host, port }: Address): Promise<Address> {
  try {
    return { host: (await lookup(host, { family: 4 })).address, port };
  } catch (cause) {
    throw new ProxyError('nameNotFound', 'upstream', `${host} has no IPv4 address, which SOCKS4 needs`, {
      cause,
    });
  }
}

function refusal(code: number, target: Address, node: Address): ProxyError {
  const at = formatAddress(node);
  const options = { retryable: true };
  if (code === socks4Codes.wrongUser) {
    return new ProxyError(
      'upstreamRefused',
      'upstream',
      `the node ${at} does not accept our user id`,
      options,
    );
  }
  if (code === socks4Codes.notAllowed) {
    const message = `the node ${at} does not allow ${formatAddress(target)}`;
    return new ProxyError('upstreamRefused', 'upstream', message, options);
  }
  const message = `the node ${at} could not reach ${formatAddress(target)} (SOCKS4 says ${String(code)})`;
  return new ProxyError('dialFailed', 'upstream', message, options);
}
