import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PluginError } from '../errors.ts';
import { createCoalescer } from './coalescer.ts';

interface Started {
  readonly key: string;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (answer: number) => void;
  readonly reject: (error: Error) => void;
  /** Who waits, by number; those without a controller cannot leave. */
  waiting: { id: number; controller: AbortController | undefined }[];
  over: boolean;
}

test('identical questions share one call, and it ends when, and only when, the last who waits has left', async () => {
  const key = fc.constantFrom('a', 'b');
  const operation = fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant('join' as const), key, canLeave: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), who: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('answer' as const, 'fail' as const), key }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 50 }), async (operations) => {
      const coalescer = createCoalescer<number>();
      const flights: Started[] = [];
      const current = new Map<string, Started>();
      const outcomes: string[] = [];
      const expected: string[] = [];
      const signals: AbortSignal[] = [];
      for (const [id, one] of operations.entries()) {
        if (one.do === 'join') {
          const controller = one.canLeave ? new AbortController() : undefined;
          if (controller !== undefined) signals.push(controller.signal);
          const before = flights.length;
          const joined = coalescer.join(one.key, controller?.signal, (_meta, _trace, signal) => {
            const { promise, resolve, reject } = deferred();
            signal?.addEventListener('abort', () => reject(new Error('ended')));
            flights.push({ key: one.key, signal, resolve, reject, waiting: [], over: false });
            return promise;
          });
          joined.answer.then(
            (answer) => outcomes.push(`${answer} ${id}`),
            (error: Error) => outcomes.push(`${(error as PluginError).code ?? error.message} ${id}`),
          );
          expect(joined.started).toBe(!current.has(one.key));
          expect(flights.length - before).toBe(joined.started ? 1 : 0);
          if (joined.started) current.set(one.key, flights.at(-1)!);
          current.get(one.key)!.waiting.push({ id, controller });
        } else if (one.do === 'leave') {
          const leavers = [...current.values()].flatMap(({ waiting }) =>
            waiting.filter((who) => who.controller),
          );
          const leaver = leavers[one.who % (leavers.length || 1)];
          if (leaver === undefined) continue;
          const flight = [...current.values()].find(({ waiting }) => waiting.includes(leaver))!;
          leaver.controller!.abort();
          expected.push(`canceled ${leaver.id}`);
          flight.waiting = flight.waiting.filter((who) => who !== leaver);
          expect(flight.signal?.aborted ?? false).toBe(
            flight.waiting.length === 0 && flight.signal !== undefined,
          );
          // Who began without a signal never leaves, so a call without one never comes to this.
          if (flight.waiting.length === 0) current.delete(flight.key);
        } else {
          const flight = current.get(one.key);
          if (flight === undefined) continue;
          if (one.do === 'answer') flight.resolve(id);
          else flight.reject(new Error('failed'));
          for (const who of flight.waiting) expected.push(`${one.do === 'answer' ? id : 'failed'} ${who.id}`);
          current.delete(one.key);
        }
        for (let i = 0; i < 4; i++) await Promise.resolve();
        expect(outcomes.sort()).toEqual(expected.sort());
        expect(coalescer.flights).toBe(current.size);
      }
      for (const flight of current.values()) flight.resolve(0);
      for (let i = 0; i < 4; i++) await Promise.resolve();
      expect(coalescer.flights).toBe(0);
      for (const signal of signals) expect(getEventListeners(signal, 'abort')).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

function deferred(): { promise: Promise<number>; resolve(answer: number): void; reject(error: Error): void } {
  let resolve!: (answer: number) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<number>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
