import { writeJson } from '../wire/go-json.ts';
import type { JsonObject } from '../wire/go-json.ts';

/** What a sample is about. */
export type SampleKind =
  | 'empty'
  | 'every field'
  | 'other values'
  | 'lists of many'
  | 'unicode'
  | 'large'
  | '2^53 - 1'
  | '2^53'
  | '2^53 + 1'
  | 'greatest integers'
  | 'least integers';

/** An object for a field that holds JSON in bytes, of which the tables know nothing. */
function objectFor(kind: SampleKind): JsonObject {
  const common = { name: 'node-0', weight: 7, on: true, none: null, list: [1, 'two', { three: 3 }] };
  switch (kind) {
    case 'unicode':
      return { ...common, 'žluť 🦊': 'Grüße "\\ <&> \u2028 \u0001', '': 'an empty key' };
    case 'large':
      return { ...common, text: 'äöü-abc '.repeat(8 * 1024) };
    case 'lists of many':
      return { ...common, list: Array.from({ length: 100 }, (_, i) => i) };
    case '2^53 - 1':
      return { ...common, integer: 2 ** 53 - 1 };
    case '2^53':
      return { ...common, integer: 2n ** 53n };
    case '2^53 + 1':
      return { ...common, integer: 2n ** 53n + 1n };
    case 'greatest integers':
      return { ...common, integer: 2n ** 64n - 1n };
    case 'least integers':
      return { ...common, integer: -(2n ** 63n) };
    case 'other values':
      return { key: 'value' };
    default:
      return common;
  }
}

function addressFor(index: number): string {
  const low = index % 250;
  return index % 2 === 0 ? `192.0.2.${low}` : `2001:db8::${low.toString(16)}`;
}

/**
 * Values of fields whose content the tables do not tell, or which decide how others are read. Paths are those of the .proto
 * files; undefined: any value of the field's type is good.
 */
export function knownValue(path: string, kind: SampleKind, index: number): unknown {
  switch (path) {
    case 'proto.SelectReply.node':
      return Buffer.from(writeJson({ ...objectFor(kind), addr: '192.0.2.1:8080' }));
    case 'proto.RecordRequest.metadata':
    case 'proto.RewriteRequest.metadata':
      return Buffer.from(writeJson(objectFor(kind), { sortKeys: true }));
    case 'proto.LookupReply.ips':
    case 'proto.ResolveReply.ips':
      return addressFor(index);
    default:
      return undefined;
  }
}

/** The same for texts that stand for a choice. */
export function knownText(path: string, kind: SampleKind, index: number): string | undefined {
  if (path === 'proto.Event.type' && kind !== 'unicode') {
    const isStatus = kind === 'large' || kind === 'other values' || index % 2 === 1;
    return isStatus ? 'status' : 'stats';
  }
  // It decides which bucket a limiter's answer fills.
  if (path === 'proto.LimitRequest.scope' && kind !== 'unicode' && kind !== 'large') {
    return kind === 'other values' ? 'service' : kind === '2^53' ? 'conn' : 'client';
  }
  return undefined;
}
