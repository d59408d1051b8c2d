import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { tellLocal } from '../../core/local-event.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Credentials } from '../../core/session.ts';

/**
 * The auther whose users stand in the configuration; of two entries with one name the later counts, as in GOST. A user's id
 * is the name. How long it takes tells nothing of what was right: digests of equal length are compared, also for a name
 * that nobody has. Empty names and passwords are an error, where GOST lets everybody in: throws TypeError.
 */
export function listAuther(users: readonly Credentials[]): PolicyOf<'auth'> {
  const key = randomBytes(32);
  const digest = (text: string) => createHmac('sha256', key).update(text).digest();
  // Nobody's password: the digest of nothing that could be said.
  const nobody = randomBytes(32);
  const passwords = new Map<string, Buffer>();
  for (const { username, password } of users) {
    if (username === '' || password === '') throw new TypeError('a user needs a name and a password');
    passwords.set(username, digest(password));
  }
  return {
    authenticate({ username, password }, call) {
      const known = passwords.get(username);
      const ok = timingSafeEqual(digest(password), known ?? nobody) && known !== undefined;
      const reason = ok ? undefined : known === undefined ? 'no such user' : 'wrong password';
      tellLocal(call, 'auth', 'authenticate', reason);
      return { ok, user: ok ? username : '' };
    },
  };
}
