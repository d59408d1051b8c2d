import { headerTokens } from '@sallyport/plugin/wire';

/** Fields that speak of one connection only (RFC 9110, section 7.6.1), and those that whoever forwards writes anew. */
const perConnection = new Set([
  'connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'content-length',
  'host',
]);

/**
 * The fields of a message that go on to the next one: without those of {@link perConnection}, without `Proxy-*`, and
 * without what `Connection` names. `connection` is where the latter is looked up: the head, also for trailers.
 */
export function forwardable(fields: readonly string[], connection: readonly string[] = fields): string[] {
  const named = headerTokens(connection, 'connection');
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!.toLowerCase();
    if (perConnection.has(name) || name.startsWith('proxy-') || named.includes(name)) continue;
    kept.push(fields[i]!, fields[i + 1]!);
  }
  return kept;
}

/**
 * The protocols that a request wants to change to, or undefined. `h2c` is not passed on: RFC 9113 has done away with it, and
 * it would let later requests past whatever looks at each of them.
 */
export function wantedUpgrade(headers: readonly string[]): string | undefined {
  if (!headerTokens(headers, 'connection').includes('upgrade')) return undefined;
  const protocols = headerTokens(headers, 'upgrade').filter((protocol) => protocol !== 'h2c');
  return protocols.length === 0 ? undefined : protocols.join(', ');
}
