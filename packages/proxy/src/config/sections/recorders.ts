import type { JsonObject } from '@sallyport/plugin';
import { parseJson } from '@sallyport/plugin/wire';
import { valueToJson } from '../../schema/json.ts';
import type { Value } from '../../schema/parse.ts';
import { mapping, optional, required, sections, word, wrongType } from '../../schema/read.ts';
import type { Reader } from '../../schema/read.ts';
import { name } from './common.ts';
import type { Of } from './common.ts';

/** GOST's records, by the word of the file. */
const recordNames = [
  'recorder.service.client.address',
  'recorder.service.router.dial.address',
  'recorder.service.router.dial.address.error',
  'recorder.service.handler',
] as const;

/** What is given to the recorder as it is written, numbers as numbers; as in GOST the keys arrive in small letters. */
function anyMetadata(): Reader<JsonObject> {
  const small = (value: Value): Value => {
    if (value.kind === 'list') return { ...value, items: value.items.map(small) };
    if (value.kind !== 'mapping') return value;
    const entries = value.entries.map((entry) => ({
      ...entry,
      key: entry.key.toLowerCase(),
      value: small(entry.value),
    }));
    return { ...value, entries };
  };
  return (value, path, reading) => {
    if (value.kind !== 'mapping') return wrongType(value, path, reading, 'a mapping (`key: value`)');
    let found: JsonObject;
    try {
      found = parseJson(Buffer.from(valueToJson(small(value)))) as JsonObject;
    } catch (error) {
      reading.report.error(value.place, path, `cannot be given to a recorder: ${(error as Error).message}`);
      return undefined;
    }
    if (found['http.body'] === true) {
      reading.report.warn(
        value.place,
        `${path}.http.body`,
        'is not served by this version; records hold no bodies',
      );
    }
    return found;
  };
}

const recorderUse = mapping(
  {
    name: required(name),
    record: required(
      word('record', recordNames, ['recorder.service.handler.serial', 'recorder.service.handler.tunnel']),
    ),
    metadata: optional(anyMetadata()),
  },
  { unserved: [] },
);

/** The `recorders` of a service. As in GOST the first of each record is the only one. */
export const recorderUses: Reader<readonly Of<typeof recorderUse>[]> = (value, path, reading) => {
  const found = sections(recorderUse)(value, path, reading);
  const seen = new Set<string>();
  for (const use of found ?? []) {
    if (use?.record === undefined) continue;
    if (seen.has(use.record)) {
      reading.report.warn(
        use.at('record'),
        `${use.path()}.record`,
        `is not used, as in GOST, because an entry before it has the same record; one recorder gets each`,
      );
    }
    seen.add(use.record);
  }
  return found;
};
