import { createHmac, randomBytes } from 'node:crypto';

// Made anew in every process and never written anywhere, so that what is kept in memory is of no use elsewhere.
const processKey = randomBytes(32);

/** Stands for a secret in a key that is kept: HMAC-SHA-256 under a random key of this process, as base64. */
export function keyedHash(secret: string): string {
  return createHmac('sha256', processKey).update(secret).digest('base64');
}
