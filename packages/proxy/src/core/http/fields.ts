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
 * Fields by which GOST's clients tell a proxy where to go and what to record. Whoever comes next is not told: it could go
 * elsewhere than the rules here were asked about.
 */
const forGost = new Set(['gost-target', 'x-gost-target', 'gost-record']);

/** What {@link forwardable} is told beside the fields. */
export interface ForwardableOptions {
  /** Where `Connection` is looked up: the head, also for trailers. Default: the fields themselves. */
  readonly connection?: readonly string[];
  /** True where `Proxy-*` fields are meant for whoever the message goes to. */
  readonly keepsProxyFields?: boolean;
}

/**
 * The fields of a message that go on to the next one: without those of {@link perConnection} and {@link forGost},
 * without `Proxy-*`, and without what `Connection` names.
 */
export function forwardable(
  fields: readonly string[],
  { connection = fields, keepsProxyFields = false }: ForwardableOptions = {},
): string[] {
  const named = headerTokens(connection, 'connection');
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!.toLowerCase();
    if (perConnection.has(name) || forGost.has(name) || named.includes(name)) continue;
    if (name === 'proxy-connection' || (name.startsWith('proxy-') && !keepsProxyFields)) continue;
    kept.push(fields[i]!, fields[i + 1]!);
  }
  return kept;
}

/** Takes out every field of this name, which is given in lower case. */
export function dropField(fields: string[], name: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) {
    if (fields[i]!.toLowerCase() === name) fields.splice(i, 2);
  }
}

/** Sets fields, or removes those whose value is empty. Those that belong to one connection are left to whoever forwards. */
export function editFields(
  fields: string[],
  edits: readonly (readonly [name: string, value: string])[],
): void {
  for (const [name, value] of edits) {
    const lower = name.toLowerCase();
    if (perConnection.has(lower)) continue;
    dropField(fields, lower);
    if (value !== '') fields.push(name, value);
  }
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
