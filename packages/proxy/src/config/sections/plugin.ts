import { contractOf, parseReply } from '@sallyport/plugin';
import type { ModuleKind, OnError } from '@sallyport/plugin';
import { valueToJson } from '../../schema/json.ts';
import {
  credential,
  durationMs,
  filled,
  list,
  mapping,
  optional,
  present,
  required,
  text,
  whole,
  word,
  wrongType,
} from '../../schema/read.ts';
import type { Reader } from '../../schema/read.ts';
import type { Value } from '../../schema/parse.ts';
import type { Of } from './common.ts';
import { clientTls } from './tls.ts';

const onErrorWords = ['refuse', 'allow', 'lastGood'] as const;

/**
 * What counts as the answer of a plugin that could not be asked. `reply` is written as the plugin would write it over HTTP;
 * where a module has several methods it is the one's whose answer somebody waits for.
 */
function onError(kind: ModuleKind): Reader<OnError<unknown>> {
  const { methods } = contractOf(kind);
  const names = Object.keys(methods);
  const method = names.find((name) => methods[name]!.onError !== 'queue') ?? names[0]!;
  const reply: Reader<{ readonly answer: unknown }> = (value: Value, path, reading) => {
    try {
      return { answer: parseReply(contractOf(kind), method, Buffer.from(valueToJson(value))) };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      reading.report.error(value.place, path, `is no reply of this module over HTTP: ${message}`);
      return undefined;
    }
  };
  const written = mapping({ reply: required(reply) });
  return (value, path, reading) => {
    if (value.kind !== 'mapping') return word('onError', onErrorWords)(value, path, reading);
    const found = written(value, path, reading)?.reply;
    return found && { reply: found.answer };
  };
}

const positiveMs: Reader<number> = (value, path, reading) => {
  const ms = durationMs()(value, path, reading);
  if (ms !== 0) return ms;
  return wrongType(value, path, reading, 'a duration above zero');
};

const fields = (kind: ModuleKind) => ({
  type: optional(word('plugin type', ['grpc', 'http'])),
  addr: required(filled(text('an address'))),
  endpoints: optional(list(filled(text('an address')))),
  token: optional(credential('a token')),
  tls: present(clientTls),
  timeoutMs: optional(positiveMs, 'timeout'),
  onError: optional(onError(kind)),
  cache: optional(
    mapping({
      ttlMs: optional(durationMs(), 'ttl'),
      negativeTtlMs: optional(durationMs(), 'negativeTtl'),
      maxEntries: optional(whole(1)),
    }),
  ),
  breaker: optional(mapping({ failures: optional(whole(1)), cooldownMs: optional(positiveMs, 'cooldown') })),
  maxConcurrent: optional(whole(1)),
});

/** The `plugin` block of a module. */
export function plugin(kind: ModuleKind) {
  return mapping(fields(kind), { secret: true });
}

export type PluginConfig = Of<ReturnType<typeof plugin>>;
