import {
  filled,
  flag,
  mapping,
  optional,
  present,
  required,
  sections,
  text,
  word,
} from '../../schema/read.ts';
import type { Reader } from '../../schema/read.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { texts } from '../../schema/texts.ts';
import type { LogLevel } from '../../log/log.ts';
import { gostKeys } from '../gost-names.ts';
import { handlerBlock, listenerBlock } from './blocks.ts';
import { compat } from './compat.ts';
import { listenAddress, name, names, others } from './common.ts';
import type { Of } from './common.ts';
import { chain, forwarder, hop } from './nodes.ts';
import { policySections } from './policies.ts';
import { recorderUses } from './recorders.ts';
import { serverTls } from './tls.ts';

/** GOST's levels, quietest last. */
const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const satisfies readonly LogLevel[];

/** What `metadata` of a service may hold, and what only GOST's may. */
export const serviceMetadata = {
  fields: {
    dialTimeoutMs: optional(metadataDurationMs(), 'dialTimeout'),
    enableStats: optional(flag()),
    observerPeriodMs: {
      ...optional(metadataDurationMs(), 'observer.period'),
      aliases: ['observePeriod', 'observer.observePeriod'],
    },
    observerResetTraffic: optional(flag(), 'observer.resetTraffic'),
    limiterRefreshMs: optional(metadataDurationMs(), 'limiter.refreshInterval'),
    limiterCleanupMs: optional(metadataDurationMs(), 'limiter.cleanupInterval'),
    limiterScope: optional(word('scope', ['service', 'conn']), 'limiter.scope'),
    labels: optional(texts()),
    /** Ours: ends a connection in which nothing moves for so long. */
    idleTimeoutMs: optional(metadataDurationMs(), 'idleTimeout'),
  },
  unserved: others(
    gostKeys.serviceMetadata,
    'dialTimeout',
    'enableStats',
    'observePeriod',
    'observer.period',
    'observer.observePeriod',
    'observer.resetTraffic',
    'limiter.refreshInterval',
    'limiter.cleanupInterval',
    'limiter.scope',
    'labels',
  ),
} as const;

const metadata = mapping(serviceMetadata.fields, { unserved: serviceMetadata.unserved });

const served = {
  name: optional(name),
  addr: required(listenAddress),
  admission: present(name),
  admissions: present(names),
  bypass: present(name),
  bypasses: present(names),
  resolver: present(name),
  hosts: present(name),
  limiter: present(name),
  climiter: present(name),
  rlimiter: present(name),
  observer: present(name),
  recorders: optional(recorderUses),
  handler: optional(handlerBlock),
  listener: optional(listenerBlock),
  forwarder: optional(forwarder),
  metadata: optional(metadata),
  // Known, and of no effect; one warning says so.
  rewriter: optional(text()),
  cache: optional(text()),
};

const serviceFields = mapping(served, {
  unserved: others(gostKeys.service, ...Object.keys(served)),
});

const service: Reader<Of<typeof serviceFields>> = (value, path, reading) => {
  const found = serviceFields(value, path, reading);
  if (found === undefined) return undefined;
  const { handler } = found;
  if (handler?.has('auth') && (handler.has('auther') || handler.has('authers'))) {
    reading.report.warn(
      handler.keyAt('auth'),
      `${path}.handler.auth`,
      'is not used, as in GOST, because an auther is named',
    );
  }
  for (const key of ['rewriter', 'cache'] as const) {
    if (!found.has(key)) continue;
    const why =
      key === 'rewriter'
        ? 'has no effect, as in GOST; rewriters are named by the rules of a forwarder’s nodes'
        : 'is not served by this version; answers are not kept';
    reading.report.warn(found.keyAt(key), `${path}.${key}`, why);
  }
  return found;
};

const log = mapping(
  {
    level: optional(word('log level', logLevels)),
    format: optional(word('log format', ['json', 'text'])),
    output: optional(filled(text('`stderr`, `stdout`, `none` or a file name'))),
  },
  { unserved: others(gostKeys.log, 'level', 'format', 'output') },
);

/** Known at the top of a file and not served: the file runs without them. */
const warned = ['api', 'metrics', 'profiling', 'caches'] as const;
const anything: Reader<true> = () => true;

const fileFields = mapping(
  {
    services: optional(sections(service)),
    chains: optional(sections(chain)),
    hops: optional(sections(hop)),
    ...policySections,
    tls: optional(serverTls),
    log: optional(log),
    compat: optional(compat),
    api: optional(anything),
    metrics: optional(anything),
    profiling: optional(anything),
    caches: optional(anything),
  },
  {
    unserved: others(
      gostKeys.top,
      'services',
      'chains',
      'hops',
      ...Object.keys(policySections),
      'tls',
      'log',
      ...warned,
    ),
  },
);

/** Reads one file's tree. Names are not looked up here: that is `references.ts`, when all files are there. */
export const readConfig: Reader<FileConfig> = (value, path, reading) => {
  const found = fileFields(value, path, reading);
  if (found === undefined) return undefined;
  for (const key of warned) {
    if (found.has(key))
      reading.report.warn(
        found.keyAt(key),
        key,
        'is not served by this version; everything else runs without it',
      );
  }
  return found;
};

/** One file, read. */
export type FileConfig = Of<typeof fileFields>;
export type ServiceConfig = Of<typeof serviceFields>;
export type LogConfig = Of<typeof log>;
