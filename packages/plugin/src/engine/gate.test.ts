import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PluginError } from '../errors.ts';
import { createGate } from './gate.ts';

test('never more than the cap run, never more than the queue wait, and who waits is let in in order', async () => {
  const operation = fc.constantFrom('come', 'come', 'come', 'leave', 'leave', 'give up');
  const bounds = fc.record({ maxConcurrent: fc.integer({ min: 1, max: 4 }), maxQueued: fc.nat(4) });
  await fc.assert(
    fc.asyncProperty(
      bounds,
      fc.array(operation, { maxLength: 60 }),
      fc.infiniteStream(fc.nat()),
      async (limits, operations, dice) => {
        const gate = createGate(limits);
        const signals: AbortSignal[] = [];
        const outcomes: string[] = [];
        let running = 0;
        const waiting: { id: number; controller: AbortController }[] = [];
        for (const [id, one] of operations.entries()) {
          if (one === 'come') {
            if (gate.enter()) {
              expect(waiting).toEqual([]);
              running++;
            } else {
              const controller = new AbortController();
              signals.push(controller.signal);
              const isFull = waiting.length >= limits.maxQueued;
              if (!isFull) waiting.push({ id, controller });
              gate.wait(10_000, controller.signal).then(
                () => outcomes.push(`in ${id}`),
                (error: PluginError) => outcomes.push(`${error.code} ${id}`),
              );
              if (isFull) {
                await Promise.resolve();
                await Promise.resolve();
                expect(outcomes.pop()).toBe(`overloaded ${id}`);
              }
            }
          } else if (one === 'leave' && running > 0) {
            gate.leave();
            const next = waiting.shift();
            await Promise.resolve();
            await Promise.resolve();
            if (next === undefined) running--;
            else expect(outcomes.pop()).toBe(`in ${next.id}`);
          } else if (one === 'give up' && waiting.length > 0) {
            const [left] = waiting.splice((dice.next().value as number) % waiting.length, 1);
            left!.controller.abort();
            await Promise.resolve();
            await Promise.resolve();
            expect(outcomes.pop()).toBe(`canceled ${left!.id}`);
          }
          expect(gate.running).toBe(running);
          expect(gate.queued).toBe(waiting.length);
          expect(running).toBeLessThanOrEqual(limits.maxConcurrent);
          expect(outcomes).toEqual([]);
        }
        gate.close();
        for (let i = 0; i < 4; i++) await Promise.resolve();
        expect(outcomes).toEqual(waiting.map(({ id }) => `unreachable ${id}`));
        expect(gate.enter()).toBe(false);
        for (const signal of signals) expect(getEventListeners(signal, 'abort')).toEqual([]);
      },
    ),
    { numRuns: 200 },
  );
});
