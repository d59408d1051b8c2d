import { flag, optional, present, whole, word } from '../../schema/read.ts';
import type { Fields } from '../../schema/read.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { modules } from '../../modules.ts';
import {
  gostConnectorMetadata,
  gostDialerMetadata,
  gostHandlerMetadata,
  gostListenerMetadata,
} from '../gost-metadata.ts';
import { gostKeys, gostTypes } from '../gost-names.ts';
import { byType } from './by-type.ts';
import type { Metadata } from './by-type.ts';
import { credentials, name, names, networks, others, userWithoutPassword } from './common.ts';
import type { Of } from './common.ts';
import { clientTls, serverTls } from './tls.ts';

/** A stack's layers, the lowest first, by the word of the file. */
const stacks = modules.stacks;
type StackName = keyof typeof stacks;
const stackNames = Object.keys(stacks) as StackName[];

/** Some listeners have no other end that one could dial. */
const dialerNames = stackNames.filter((name) => (gostTypes.dialer as readonly string[]).includes(name));

const handlerTypes = modules.protocols.flatMap(({ type, aliases = [], handler }) =>
  handler === undefined ? [] : [type, ...aliases],
);
const connectorTypes = modules.protocols.flatMap(({ type, aliases = [], connector }) =>
  connector === undefined ? [] : [type, ...aliases],
);

const layerFields = (stack: string, side: 'listener' | 'dialer'): Fields =>
  Object.assign({}, ...stacks[stack as StackName].map((layer) => layer[side])) as Fields;

/** Keys that handlers of every type take: what the service does for them. */
const everyHandler = {
  skipAuth: optional(networks, 'skipauth'),
  hash: optional(word('hash', ['source', 'host'])),
  observerPeriodMs: {
    ...optional(metadataDurationMs(), 'observer.period'),
    aliases: ['observePeriod', 'observer.observePeriod'],
  },
  observerResetTraffic: optional(flag(), 'observer.resetTraffic'),
  limiterRefreshMs: optional(metadataDurationMs(), 'limiter.refreshInterval'),
  limiterCleanupMs: optional(metadataDurationMs(), 'limiter.cleanupInterval'),
} satisfies Fields;

/** The `handler` block of a service. */
export const handlerBlock = byType({
  type: word('handler type', handlerTypes, others(gostTypes.handler, ...handlerTypes)),
  defaultType: 'auto',
  fields: {
    retries: optional(whole(0, 999)),
    chain: present(name),
    auther: present(name),
    authers: present(names),
    auth: present(credentials),
    tls: optional(serverTls),
    limiter: present(name),
    observer: present(name),
  },
  unserved: ['chainGroup'],
  metadata: handlerMetadata,
});

/** The `listener` block of a service. */
export const listenerBlock = byType({
  type: word('listener type', stackNames, others(gostTypes.listener, ...stackNames)),
  defaultType: 'tcp',
  fields: { chain: present(name), tls: optional(serverTls) },
  unserved: others(gostKeys.listener, 'type', 'chain', 'tls', 'metadata'),
  metadata: listenerMetadata,
});

/** The `dialer` block of a node. */
export const dialerBlock = byType({
  type: word('dialer type', dialerNames, others(gostTypes.dialer, ...dialerNames)),
  defaultType: 'tcp',
  fields: { tls: optional(clientTls) },
  unserved: ['auth'],
  metadata: dialerMetadata,
});

/** The `connector` block of a node. */
export const connectorBlock = byType({
  type: word('connector type', connectorTypes, others(gostTypes.connector, ...connectorTypes)),
  defaultType: 'http',
  fields: { auth: present(credentials), tls: optional(clientTls) },
  // SOCKS4 has user names, and no passwords.
  fieldsOf: (type) => (protocolOf(type)?.type === 'socks4' ? { auth: present(userWithoutPassword) } : {}),
  unserved: [],
  metadata: connectorMetadata,
});

/** What `metadata` of a block may hold, and what only GOST's may. */
export interface KnownMetadata {
  readonly fields: Fields;
  readonly unserved: readonly string[];
}

/** Of a handler; of a type that is not served, what every handler takes. */
export function handlerMetadata(type: string): KnownMetadata {
  return known({ ...everyHandler, ...protocolOf(type)?.handler?.metadata }, gostHandlerMetadata[type]);
}

/** Of a listener. */
export function listenerMetadata(type: string): KnownMetadata {
  return known(layerFields(type, 'listener'), gostListenerMetadata[type]);
}

/** True for listeners of this type that can believe a header's word about who connected. */
export function readsHeaders(type = 'tcp'): boolean {
  return 'trustedProxies' in listenerMetadata(type).fields;
}

/** Of a dialer. */
export function dialerMetadata(type: string): KnownMetadata {
  return known(layerFields(type, 'dialer'), gostDialerMetadata[type]);
}

/** Of a connector. */
export function connectorMetadata(type: string): KnownMetadata {
  return known(protocolOf(type)?.connector?.metadata ?? {}, gostConnectorMetadata[type]);
}

function known(fields: Fields, gost: readonly string[] = []): KnownMetadata {
  return { fields, unserved: others(gost, ...keysOf(fields)) };
}

/** The words that a `type` may be, by the block that it stands in. */
export const servedTypes = {
  handler: handlerTypes,
  listener: stackNames,
  dialer: dialerNames,
  connector: connectorTypes,
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** The protocol of the list with this type or alias. */
export function protocolOf(type: string) {
  return modules.protocols.find(({ type: own, aliases = [] }) => own === type || aliases.includes(type))!;
}

/** The keys of fields as a file has them. */
export function keysOf(fields: Fields): string[] {
  return Object.entries(fields).flatMap(([property, { key, aliases = [] }]) => [key ?? property, ...aliases]);
}

export type { Metadata };
export type HandlerConfig = Of<typeof handlerBlock>;
export type ListenerConfig = Of<typeof listenerBlock>;
export type DialerConfig = Of<typeof dialerBlock>;
export type ConnectorConfig = Of<typeof connectorBlock>;
