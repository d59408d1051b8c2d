import { parseHostFilter } from '../../chain/matching.ts';
import { readProtocol } from '../../core/rules/functions.ts';
import { parseRule } from '../../core/rules/parse.ts';
import { filled, mapping, optional, present, text, whole } from '../../schema/read.ts';
import type { Located, Reader } from '../../schema/read.ts';
import type { Of } from './common.ts';

/** A text that `parse` makes something of; its TypeError is what is wrong. An empty one stands for nothing, as in GOST. */
function parsed<T>(written: Reader<string>, parse: (written: string) => T): Reader<T> {
  return (value, path, reading) => {
    const found = written(value, path, reading);
    if (found === undefined || found === '') return undefined;
    try {
      return parse(found);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      reading.report.error(value.place, path, error.message);
      return undefined;
    }
  };
}

function pathStart(written: string): string {
  if (!written.startsWith('/')) throw new TypeError('a path begins with `/`');
  return written;
}

/** Which requests a node is for, key by key. In a forwarder's node these keys may stand at the node itself. */
export const filterFields = {
  host: optional(parsed(text('a host'), parseHostFilter)),
  protocol: optional(parsed(text('a protocol'), readProtocol)),
  pathStart: optional(parsed(text('how a path begins'), pathStart), 'path'),
};

/** Which requests a node is for, in GOST's older way. */
export const filter = mapping(filterFields);

const matcherFields = mapping({
  // Empty, it would be a node for everybody.
  rule: present(parsed(filled(text('a rule')), parseRule)),
  priority: optional(whole(-(2 ** 31), 2 ** 31)),
  bodySize: optional(whole(0)),
});

/** Which requests a node is for, as a rule. A rule that cannot be read is an error; GOST makes the node everybody's. */
export const matcher: Reader<Of<typeof matcherFields>> = (value, path, reading) => {
  const found = matcherFields(value, path, reading);
  if (found === undefined) return undefined;
  if (found.has('bodySize')) {
    reading.report.warn(
      found.keyAt('bodySize'),
      `${path}.bodySize`,
      'is not needed: no rule of this version looks into bodies, so that none is waited for',
    );
  }
  if (!found.has('rule') && !found.has('priority'))
    reading.report.error(value.place, path, 'needs a `rule`, a `priority` or both');
  return found;
};

/** A node whose `filter` does not count beside its rule is mentioned. */
export function withoutUnusedFilter<
  T extends Located & {
    readonly filter?: unknown;
    readonly matcher?: { readonly rule?: unknown } | undefined;
  },
>(read: Reader<T>): Reader<T> {
  return (value, path, reading) => {
    const found = read(value, path, reading);
    if (found?.filter !== undefined && found.matcher?.rule !== undefined) {
      reading.report.warn(
        found.keyAt('filter'),
        `${path}.filter`,
        'is not used, as in GOST, because the node has a rule',
      );
    }
    return found;
  };
}
