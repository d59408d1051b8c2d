import {
  credential,
  durationMs,
  filled,
  mapping,
  optional,
  present,
  required,
  text,
  whole,
  wrongType,
} from '../../schema/read.ts';
import type { FromFields, Reader } from '../../schema/read.ts';
import { parseRedisAddress } from './address.ts';
import type { RedisAddress } from './address.ts';

const address: Reader<RedisAddress> = (value, path, reading) => {
  const written = text('an address such as `127.0.0.1:6379`')(value, path, reading);
  if (written === undefined) return undefined;
  try {
    return parseRedisAddress(written);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    reading.report.error(value.place, path, error.message);
    return undefined;
  }
};

const ttlMs: Reader<number> = (value, path, reading) => {
  const ms = durationMs()(value, path, reading);
  if (ms === undefined || ms >= 1000) return ms;
  return wrongType(value, path, reading, 'a duration of at least `1s`');
};

const fields = {
  // GOST's word for it.
  address: { ...required(address), key: 'addr' },
  db: optional(whole(0, 65_535)),
  username: present(filled(credential('a user name'))),
  password: present(filled(credential('a password'))),
  key: optional(filled(text('what the keys begin with'))),
  ttlMs: optional(ttlMs, 'ttl'),
};
const written = mapping(fields, { unserved: ['type'], secret: true });

const redis: Reader<FromFields<typeof fields>> = (value, path, reading) => {
  const found = written(value, path, reading);
  if (found?.has('username') === true && !found.has('password'))
    reading.report.error(
      found.keyAt('username'),
      `${path}.password`,
      '`password` is missing beside `username`',
    );
  return found;
};

/**
 * The keys of a service discovery in the file that say what it is, beside its name and `plugin`: where its Redis is. GOST's
 * has a plugin only.
 */
export const sdFields = { redis: present(redis) };
