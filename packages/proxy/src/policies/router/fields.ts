import { checked } from '../../schema/checked.ts';
import { filled, mapping, optional, required, sections, text } from '../../schema/read.ts';
import type { FromFields, Reader } from '../../schema/read.ts';
import { parseDestination } from './list.ts';

const destination = checked('a network', parseDestination);

const fields = {
  dst: optional(destination),
  net: optional(destination),
  gateway: required(filled(text('a gateway'))),
};
const written = mapping(fields);
const isKnown = (key: string) => key.toLowerCase() in fields;

const route: Reader<FromFields<typeof fields>> = (value, path, reading) => {
  const found = written(value, path, reading);
  if (found === undefined) return undefined;
  // One mistake is one message: a key that is misspelt has its own.
  const isMisspelt = value.kind === 'mapping' && value.entries.some(({ key }) => !isKnown(key));
  if (!found.has('dst') && !found.has('net') && (reading.lenient || !isMisspelt)) {
    reading.report.error(value.place, `${path}.dst`, '`dst` is missing');
  } else if (found.dst !== undefined && found.net !== undefined && found.dst !== found.net) {
    reading.report.warn(found.keyAt('net'), `${path}.net`, 'is not used, as in GOST, because `dst` is given');
  }
  return found;
};

/** The keys of a router in the file that say what it is, beside its name and where routes may also come from. */
export const routerFields = { routes: optional(sections(route)) };
