import { PluginError } from '../errors.ts';
import type { Endpoint } from './endpoint.ts';
import { h2Code } from './h2/codes.ts';
import type { ConnectionEnd } from './h2/connection-options.ts';
import type { StreamFailure } from './h2/stream.ts';
import { formatAddress, socketError } from './socket-error.ts';

/** What is to be said about a connection that ended, or of which a GOAWAY gave a call back. */
export function explainEnd(
  endpoint: Endpoint,
  connection: { readonly hasSettings: boolean },
  end: ConnectionEnd | StreamFailure,
  unsent: boolean,
): PluginError {
  const at = formatAddress(endpoint.connect);
  const say = (message: string, isUnsent = unsent): PluginError =>
    new PluginError('unreachable', message, { endpoint: endpoint.url, unsent: isUnsent, cause: end.cause });
  const neverSpoke = !connection.hasSettings && end.by !== 'local';
  if (neverSpoke && end.code === h2Code.http11Required) {
    // The usual mistakes, and then the setting to change is known. Such a server has processed nothing.
    return end.message.includes('TLS')
      ? say(`${at} speaks TLS: give the plugin a tls setting`, true)
      : say(`${at} is an HTTP/1 server, not a gRPC one: set type: http if that is meant`, true);
  }
  if (end.by === 'peer' && end.cause !== undefined) {
    const error = socketError(endpoint, end.cause, { during: 'call', unsent });
    if (error.code !== 'unreachable' || !neverSpoke) return error;
  }
  if (neverSpoke && end.by === 'peer') {
    const hint = endpoint.tls === undefined ? '; if it speaks TLS, give the plugin a tls setting' : '';
    return say(`${at} closed the connection before a word of HTTP/2, which gRPC needs${hint}`);
  }
  if (neverSpoke) return say(`${at} does not speak HTTP/2, which gRPC needs: ${end.message}`);
  if (end.by === 'peer') return say(`${at} closed the connection during the call`);
  return say(`the connection to ${at} ended: ${end.message}`);
}
