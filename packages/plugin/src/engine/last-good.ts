import type { AnyMethod } from '../contract.ts';
import { createAnswerCache } from './answer-cache.ts';
import { keyedHash } from './secret.ts';

/** The last answer to each question of a method, for `onError: lastGood`. */
export interface LastGood<Answer> {
  remember(ask: unknown, answer: Answer): void;
  recall(ask: unknown): { readonly answer: Answer } | undefined;
}

/** As many questions as the engine's cache remembers by default. */
const bounds = { maxEntries: 10_000, maxBytes: 16 * 1024 * 1024 };

/** An answer came through a reply of at most 1 MiB; nearly all are a few words. */
const answerBytes = 256;

/**
 * Remembers answers for as long as there is room for them: what was last asked goes last. Undefined where the contract
 * has no key, because then no two questions are known to be the same.
 */
export function createLastGood<Answer>(method: AnyMethod): LastGood<Answer> | undefined {
  const { cacheKey } = method;
  if (cacheKey === undefined) return undefined;
  const answers = createAnswerCache<Answer>(bounds);
  return {
    remember(ask, answer) {
      const remembered = { answer, reason: undefined, tags: undefined, expiresAt: Infinity };
      answers.set(cacheKey(ask, keyedHash), remembered, answerBytes);
    },
    recall: (ask) => answers.get(cacheKey(ask, keyedHash), 0),
  };
}
