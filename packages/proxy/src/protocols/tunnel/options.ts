import type { Address } from '../../core/conn.ts';
import { parseDomainRule } from '../../core/match/domain-set.ts';
import { muxFields } from '../../core/mux/options.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import {
  filled,
  flag,
  list,
  mapping,
  optional,
  required,
  text,
  whole,
  wrongType,
} from '../../schema/read.ts';
import type { Field, FromFields, Reader } from '../../schema/read.ts';
import { formatUuid, parseUuid } from '../../wire/uuid.ts';

/** What `connector.metadata` may say. */
export const connectorFields = {
  /** The tunnel. Default: a random one, of the same connector always the same. A visitor has to name it. */
  tunnelId: { ...optional(uuid(), 'tunnel.id'), aliases: ['tunnelID'] } satisfies Field<string, false>,
  /** How often this connector is chosen beside others of the tunnel; 255: as long as it is there, no other is. Default 1. */
  tunnelWeight: optional(whole(0, 255), 'tunnel.weight'),
  /** What the node is to record of the tunnel's requests: GOST knows `headers` and `off`. Default: all that it records. */
  recordMode: optional(filled(text()), 'record.mode'),
  /** How long the node may take to answer. Default: as long as the dial may. */
  connectTimeoutMs: optional(metadataDurationMs(), 'connectTimeout'),
  ...muxFields,
} as const;

export type ConnectorMetadata = Partial<FromFields<typeof connectorFields>>;

/** An address that visitors come to, and what the file says of it. */
export interface EntrypointAddress extends Address {
  /** As it was written: what other nodes are told. */
  readonly written: string;
}

/** A rule of the handler's own: a host, and the tunnel's UUID with `$` in front where the tunnel is private. */
export interface InlineRule {
  readonly hostname: string;
  readonly endpoint: string;
}

const moduleName = filled(text('the name of a module'));

/** What `handler.metadata` may say. */
export const handlerFields = {
  /** From the first byte to the whole request. Default, and for 0: 15 s; GOST waits for ever. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** Where visitors come to, and where other nodes pass on theirs: `sd` is told it as it is written. */
  entrypoint: optional(entrypointAddress()),
  /** Further ones, for visitors alone. */
  entrypoints: optional(
    list(
      mapping({
        addr: required(entrypointAddress()),
        /** Default: the handler's own. */
        ingress: optional(moduleName),
      }),
    ),
  ),
  /** Relay visitors that say this UUID come from outside: they go where the ingress says, and reach no private tunnel. */
  entrypointId: optional(uuid(), 'entrypoint.id'),
  /** True: a connection with a tunnel serves several requests of its visitor. Default false, as in GOST. */
  entrypointKeepalive: optional(flag(), 'entrypoint.keepalive'),
  /** Answers pass in the coding that they come in; only `false` is served. */
  entrypointCompression: optional(off(), 'entrypoint.compression'),
  /** How long a visitor may take to say what it wants, and a tunnel to begin its answer. Default, and for 0: 15 s, as in GOST. */
  entrypointReadTimeoutMs: optional(metadataDurationMs(), 'entrypoint.readTimeout'),
  /** Says which tunnel a host leads to. */
  ingress: optional(moduleName),
  /** The same in one line, `host:uuid,…`; it counts where no ingress is named. */
  tunnel: optional(inlineRules()),
  /** True: relay visitors reach the tunnel whose UUID they say, whatever the ingress says. Default false. */
  tunnelDirect: optional(flag(), 'tunnel.direct'),
  /**
   * How often `sd` is told what is here, and how long a tunnel without a connector is kept for its user. Default, and for 0:
   * 15 s, as in GOST.
   */
  tunnelTtlMs: optional(metadataDurationMs(), 'tunnel.ttl'),
  /** Where nodes find each other's tunnels. */
  sd: optional(moduleName),
  ...muxFields,
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;

/** GOST's default. */
export const defaultTtlMs = 15_000;

/** An address to listen at, with its port; without a host it is every address of this machine. */
function entrypointAddress(): Reader<EntrypointAddress> {
  return (value, path, reading) => {
    const written = text()(value, path, reading);
    if (written === undefined) return undefined;
    const match = /^(?:\[([\da-f:.]+)\]|([^:[\]\s/]*)):(\d{1,5})$/i.exec(written);
    const port = Number(match?.[3]);
    if (match !== null && port <= 65_535) return { host: match[1] ?? match[2] ?? '', port, written };
    return wrongType(value, path, reading, 'an address to listen on such as `":8080"` or `"10.0.0.1:8080"`');
  };
}

/** What only `false` is served of. */
function off(): Reader<boolean> {
  return (value, path, reading) => {
    const yes = flag()(value, path, reading);
    if (yes !== true) return yes;
    reading.report.error(value.place, path, 'is not served by this version: only `false` is');
    return undefined;
  };
}

/** GOST's `host:uuid,…`, or a list of such. Unlike in GOST one that cannot be read is an error. */
function inlineRules(): Reader<readonly InlineRule[]> {
  return (value, path, reading) => {
    const written = list(text('rules such as `example.com:4d21094e-b74c-4916-86c1-d9fa36ea677b`'))(
      value,
      path,
      reading,
    );
    const rules: InlineRule[] = [];
    for (const rule of written?.flatMap((one) => one.split(',')) ?? []) {
      if (rule.trim() === '') continue;
      const colon = rule.indexOf(':');
      const [hostname, endpoint] = [rule.slice(0, colon).trim(), rule.slice(colon + 1).trim()];
      const uuid = colon < 0 ? undefined : parseUuid(endpoint.replace(/^\$/, ''));
      const wrong =
        uuid?.some((byte) => byte !== 0) === true
          ? hostFault(hostname)
          : 'is no host, a colon and the UUID of a tunnel';
      if (wrong === undefined) rules.push({ hostname, endpoint });
      else reading.report.error(value.place, path, `the rule ${JSON.stringify(rule.trim())} ${wrong}`);
    }
    return rules;
  };
}

/** What is wrong with a host in a rule, which may stand for all names below it. */
function hostFault(hostname: string): string | undefined {
  const name = hostname.replace(/^\*/, '');
  if (name === '' || name === '.') return 'stands for no host';
  try {
    parseDomainRule(name);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A UUID, in small letters with its dashes. The zero one is none, as in GOST. */
function uuid(): Reader<string> {
  return (value, path, reading) => {
    const wanted = 'a UUID such as `4d21094e-b74c-4916-86c1-d9fa36ea677b`';
    if (value.kind !== 'scalar') return wrongType(value, path, reading, wanted);
    const bytes = parseUuid(value.text);
    if (bytes?.some((byte) => byte !== 0) === true) return formatUuid(bytes);
    const message = value.text.startsWith('$')
      ? 'the mark `$` belongs to the rule of an ingress that makes a tunnel private; here the UUID stands alone'
      : bytes === undefined
        ? `expected ${wanted}`
        : 'the UUID of zeros names no tunnel';
    reading.report.error(value.place, path, message);
    return undefined;
  };
}
