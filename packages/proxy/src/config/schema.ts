import type { LogLevel } from '../log/log.ts';
import { gostHandlerMetadata, gostKeys, gostListenerMetadata, gostTypes } from './gost-names.ts';
import {
  credential,
  durationMs,
  filled,
  flag,
  list,
  mapping,
  optional,
  present,
  required,
  sections,
  text,
  whole,
  word,
  wrongType,
} from '../schema/read.ts';
import type { Reader } from '../schema/read.ts';

/** What a reader answers. */
type Of<R> = R extends Reader<infer T> ? T : never;

/** GOST's levels, quietest last. */
const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const satisfies readonly LogLevel[];

/** The keys of GOST's mapping that are not among those served. */
const others = (all: readonly string[], ...served: readonly string[]) =>
  all.filter((key) => !served.includes(key));

/** A host and a port to listen on. */
export interface ListenAddress {
  /** Empty: every address of this machine. */
  readonly host: string;
  /** 0: one that the system chooses. */
  readonly port: number;
}

/** `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`. */
const listenAddress: Reader<ListenAddress> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined) return undefined;
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^:[\]\s/]*)):(\d{1,5})$/.exec(written);
  const port = Number(match?.[3]);
  if (match !== null && port <= 65535) return { host: match[1] ?? match[2] ?? '', port };
  const hint = /^\d{1,5}$/.test(written) ? `; write \`":${written}"\`` : '';
  reading.report.error(
    value.place,
    path,
    `expected an address to listen on such as \`":8080"\` or \`"127.0.0.1:8080"\`${hint}`,
  );
  return undefined;
};

const names: Reader<readonly string[]> = (value, path, reading) => {
  const found = list(filled(text('a name')))(value, path, reading);
  if (value.kind === 'list' && value.items.length === 0) {
    reading.report.error(value.place, path, 'is empty; name somebody or remove the key');
  }
  return found;
};

const credentials = mapping(
  {
    username: required(filled(credential('a user name'))),
    password: required(filled(credential('a password'))),
  },
  { unserved: others(gostKeys.auth, 'username', 'password'), secret: true },
);

/** An `auths` entry of GOST may leave out the password, and then any password will do. Here it may not. */
const auths: Reader<readonly Of<typeof credentials>[]> = (value, path, reading) => {
  const found = sections(credentials)(value, path, reading);
  if (value.kind === 'list' && value.items.length === 0) {
    reading.report.error(value.place, path, 'is empty, so that nobody could get in; add an entry');
  }
  return found;
};

const tls = mapping(
  {
    caFile: optional(filled(text('a file name'))),
    certFile: optional(filled(text('a file name'))),
    keyFile: optional(filled(text('a file name'))),
    serverName: optional(filled(text('a host name'))),
    secure: optional(flag()),
  },
  { unserved: others(gostKeys.tls, 'caFile', 'certFile', 'keyFile', 'serverName', 'secure') },
);

const onErrorWords = ['refuse', 'allow', 'lastGood'] as const;

/** What counts as the answer of a plugin that could not be asked. `reply` is written as the plugin would write it over HTTP. */
const onError: Reader<
  (typeof onErrorWords)[number] | { readonly reply: { readonly ok: boolean; readonly user: string } }
> = (value, path, reading) => {
  if (value.kind !== 'mapping') return word('onError', onErrorWords)(value, path, reading);
  const reply = mapping({ reply: required(mapping({ ok: required(flag()), id: optional(text()) })) })(
    value,
    path,
    reading,
  )?.reply;
  return reply && { reply: { ok: reply.ok, user: reply.id ?? '' } };
};

const positiveMs: Reader<number> = (value, path, reading) => {
  const ms = durationMs()(value, path, reading);
  if (ms !== 0) return ms;
  return wrongType(value, path, reading, 'a duration above zero');
};

const plugin = mapping(
  {
    type: optional(word('plugin type', ['grpc', 'http'])),
    addr: required(filled(text('an address'))),
    endpoints: optional(list(filled(text('an address')))),
    token: optional(credential('a token')),
    tls: present(tls),
    timeoutMs: optional(positiveMs, 'timeout'),
    onError: optional(onError),
    cache: optional(
      mapping({
        ttlMs: optional(durationMs(), 'ttl'),
        negativeTtlMs: optional(durationMs(), 'negativeTtl'),
        maxEntries: optional(whole(1)),
      }),
    ),
    breaker: optional(
      mapping({ failures: optional(whole(1)), cooldownMs: optional(positiveMs, 'cooldown') }),
    ),
    maxConcurrent: optional(whole(1)),
  },
  { secret: true },
);

const autherFields = mapping(
  {
    name: required(filled(text('a name'))),
    auths: present(auths),
    plugin: present(plugin),
  },
  { unserved: others(gostKeys.auther, 'name', 'auths', 'plugin') },
);

const auther: Reader<Of<typeof autherFields>> = (value, path, reading) => {
  const found = autherFields(value, path, reading);
  if (found === undefined) return undefined;
  if (found.has('auths') && found.has('plugin')) {
    reading.report.warn(
      found.keyAt('auths'),
      `${path}.auths`,
      'is not used, as in GOST, because a plugin is named',
    );
  }
  // A loader (`file`, `redis`, `http`) has its own message already.
  if (!others(gostKeys.auther, 'name').some(found.has)) {
    reading.report.error(value.place, path, 'knows nobody; give it `auths` or a `plugin`');
  }
  return found;
};

/** The metadata of a type without any key of its own. */
const noMetadata = (gost: readonly string[] = []) => mapping({}, { unserved: gost });

const noAuto = "GOST's default type, `auto`, is not served by this version; write `type: http`";

const handler = mapping(
  {
    type: required(word('handler type', ['http'], gostTypes.handler), `\`type\` is missing; ${noAuto}`),
    auther: present(filled(text('a name'))),
    authers: present(names),
    auth: present(credentials),
    metadata: optional(noMetadata(gostHandlerMetadata.http)),
  },
  { unserved: others(gostKeys.handler, 'type', 'auther', 'authers', 'auth', 'metadata') },
);

const listener = mapping(
  {
    type: optional(word('listener type', ['tcp'], gostTypes.listener)),
    metadata: optional(noMetadata(gostListenerMetadata.tcp)),
  },
  { unserved: others(gostKeys.listener, 'type', 'metadata') },
);

const serviceFields = mapping(
  {
    name: optional(filled(text('a name'))),
    addr: required(listenAddress),
    handler: required(handler, `\`handler\` is missing; ${noAuto}`),
    listener: optional(listener),
    metadata: optional(noMetadata(gostKeys.serviceMetadata)),
  },
  { unserved: others(gostKeys.service, 'name', 'addr', 'handler', 'listener', 'metadata') },
);

const service: Reader<Of<typeof serviceFields>> = (value, path, reading) => {
  const found = serviceFields(value, path, reading);
  const asked = found?.handler;
  if (asked?.has('auth') && (asked.has('auther') || asked.has('authers'))) {
    reading.report.warn(
      asked.keyAt('auth'),
      `${path}.handler.auth`,
      'is not used, as in GOST, because an auther is named',
    );
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

/** Reads one file's tree. Names are not looked up here: that is `references.ts`, when all files are there. */
export const readConfig = mapping(
  {
    services: optional(sections(service)),
    authers: optional(sections(auther)),
    log: optional(log),
  },
  { unserved: others(gostKeys.top, 'services', 'authers', 'log') },
);

/** One file, read. */
export type FileConfig = Of<typeof readConfig>;
export type ServiceConfig = Of<typeof service>;
export type AutherConfig = Of<typeof auther>;
export type PluginConfig = Of<typeof plugin>;
export type TlsConfig = Of<typeof tls>;
export type LogConfig = Of<typeof log>;
