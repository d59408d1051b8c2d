import { stringify } from 'yaml';
import type { Value } from '../schema/parse.ts';
import {} from './gost-metadata.ts';
import { gostKeys } from './gost-names.ts';
import {
  gostConnectorMetadata,
  gostDialerMetadata,
  gostHandlerMetadata,
  gostListenerMetadata,
} from './gost-metadata.ts';
import { compatSwitches } from './sections/compat.ts';

/** Keys of nested mappings whose spelling is not among GOST's lists. */
const further = [
  ...['nodes', 'hops', 'strategy', 'maxFails', 'failTimeout', 'maxLatency', 'weight', 'backup', 'onNoNode'],
  ...['nameservers', 'prefer', 'only', 'clientIP', 'hostname', 'ttl', 'async', 'mappings', 'ip', 'aliases'],
  ...['matchers', 'whitelist', 'reverse', 'network', 'limits', 'auths', 'record', 'path', 'sep', 'hop'],
  ...[
    'rule',
    'priority',
    'bodySize',
    'connector',
    'dialer',
    'probe',
    'filter',
    'matcher',
    'protocol',
    'host',
  ],
  ...['requestHeader', 'responseHeader', 'rewriteURL', 'rewriteBody', 'rewriteResponseBody'],
  ...['rewriteRequestBody', 'failCodes', 'match', 'replacement', 'rewriter', 'maxChunkSize'],
  ...['minVersion', 'maxVersion', 'cipherSuites', 'alpn', 'endpoints', 'onError', 'reply', 'negativeTtl'],
  ...['rules', 'endpoint', 'routes', 'net', 'dst', 'gateway', 'db', 'key'],
  ...['maxEntries', 'breaker', 'failures', 'cooldown', 'maxConcurrent', 'compat', 'trustedProxies', 'addr'],
];

const spelling = new Map(
  [gostKeys, gostHandlerMetadata, gostListenerMetadata, gostDialerMetadata, gostConnectorMetadata]
    .flatMap((lists) => Object.values(lists as Readonly<Record<string, readonly string[]>>).flat())
    .concat(further, Object.keys(compatSwitches))
    .map((key) => [key.toLowerCase(), key] as const),
);

/** Mappings whose keys are whatever somebody calls them. */
const free = /^(header|http\.header|ws\.header|requestHeader|responseHeader|labels|reply)$/;

/**
 * The files as one, in the form that `-O` asks for: lists one after the other, of everything else the last, keys in GOST's
 * spelling, values as they are written, passwords and tokens among them.
 */
export function printConfig(trees: readonly Value[], format: 'yaml' | 'json'): string {
  const merged: Record<string, unknown> = {};
  for (const tree of trees) {
    if (tree.kind !== 'mapping') continue;
    for (const { key, value } of tree.entries) {
      const name = spelled(key);
      const before = merged[name];
      const now = plainOf(value, name);
      merged[name] = Array.isArray(before) && Array.isArray(now) ? [...(before as unknown[]), ...now] : now;
    }
  }
  return format === 'json' ? JSON.stringify(merged, null, 2) : stringify(merged, { lineWidth: 0 }).trimEnd();
}

function spelled(key: string): string {
  return spelling.get(key.toLowerCase()) ?? key;
}

function plainOf(value: Value, key: string, within = ''): unknown {
  switch (value.kind) {
    case 'list':
      return value.items.map((item) => plainOf(item, key, within));
    case 'mapping': {
      const asIs = free.test(key) || (key === 'metadata' && within === 'recorders');
      return Object.fromEntries(
        value.entries.map((entry) => {
          const name = asIs ? entry.key : spelled(entry.key);
          return [name, plainOf(entry.value, name, key)];
        }),
      );
    }
    case 'scalar':
      // A number that JavaScript does not hold exactly, and one such as 0123, is what is written.
      return typeof value.value === 'number' && String(value.value) !== value.text ? value.text : value.value;
  }
}
