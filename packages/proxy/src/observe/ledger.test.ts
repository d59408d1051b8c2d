import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLedger } from './ledger.ts';
import type { Report } from './ledger.ts';

const stats = { totalConns: 0, currentConns: 0, inputBytes: 0, outputBytes: 0, totalErrs: 0 };

test('only what has changed since it was taken is due, and the same again until it is taken', () => {
  const ledger = createLedger({ resetTraffic: false });
  ledger.of('a').totalConns = 1;
  ledger.of('b').inputBytes = 5;
  const first = ledger.due(10);
  expect(first).toEqual([
    { subject: 'a', stats: { ...stats, totalConns: 1 } },
    { subject: 'b', stats: { ...stats, inputBytes: 5 } },
  ]);
  expect(ledger.due(1)).toHaveLength(1);
  ledger.of('b').inputBytes = 7;
  ledger.taken(first);
  expect(ledger.due(10)).toEqual([{ subject: 'b', stats: { ...stats, inputBytes: 7 } }]);
});

test('whoever has left and owes nothing is forgotten when there are too many, who left first being first', () => {
  const ledger = createLedger({ resetTraffic: false, maxIdle: 2, maxUntaken: 4 });
  const come = (subject: string) => {
    ledger.of(subject).totalConns++;
    ledger.of(subject).currentConns++;
    ledger.connsChanged(subject);
  };
  const go = (subject: string) => {
    ledger.of(subject).currentConns--;
    ledger.connsChanged(subject);
  };
  for (const subject of ['a', 'b', 'c', 'd']) come(subject);
  for (const subject of ['d', 'b', 'a']) go(subject);
  come('d');
  // `a` and `b` are away, `c` and `d` are here.
  ledger.taken(ledger.due(10));
  expect(ledger.size).toBe(4);
  for (const subject of ['c', 'd']) go(subject);
  expect(ledger.size).toBe(4);
  ledger.taken(ledger.due(10));
  expect(ledger.size).toBe(2);
  come('c');
  expect(ledger.due(10)).toEqual([{ subject: 'c', stats: { ...stats, totalConns: 2, currentConns: 1 } }]);
  expect(ledger.lost).toBe(0);
  // Nobody takes anything any more.
  for (let i = 0; i < 10; i++) {
    come(`x${String(i)}`);
    go(`x${String(i)}`);
  }
  expect(ledger.size).toBe(1 + 4);
  expect(ledger.lost).toBe(6);
});

/** What may happen: bytes are counted, a report is made, the report that is under way is taken or is not. */
const step = fc.oneof(
  fc.record({
    what: fc.constant('count' as const),
    subject: fc.constantFrom('a', 'b', 'c'),
    inputBytes: fc.nat(1_000),
    outputBytes: fc.nat(1_000),
  }),
  fc.record({ what: fc.constant('report' as const), max: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ what: fc.constant('answer' as const), taken: fc.boolean() }),
);

test('all that was delivered adds up to all that was counted, whatever fails in between', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, resetTraffic) => {
      const ledger = createLedger({ resetTraffic });
      const counted = new Map<string, { inputBytes: number; outputBytes: number }>();
      const delivered = new Map<string, { inputBytes: number; outputBytes: number }>();
      const add = (to: typeof counted, subject: string, one: { inputBytes: number; outputBytes: number }) => {
        const sum = to.get(subject) ?? { inputBytes: 0, outputBytes: 0 };
        sum.inputBytes += one.inputBytes;
        sum.outputBytes += one.outputBytes;
        to.set(subject, sum);
      };
      let underWay: readonly Report[] = [];
      const deliver = () => {
        for (const { subject, stats: told } of underWay) {
          const bytes = {
            inputBytes: Number(told.inputBytes),
            outputBytes: Number(told.outputBytes),
          };
          if (!resetTraffic) delivered.delete(subject);
          add(delivered, subject, bytes);
        }
        ledger.taken(underWay);
        underWay = [];
      };
      for (const one of steps) {
        if (one.what === 'count') {
          const tally = ledger.of(one.subject);
          tally.inputBytes += one.inputBytes;
          tally.outputBytes += one.outputBytes;
          add(counted, one.subject, one);
        } else if (one.what === 'report') {
          if (underWay.length === 0) underWay = ledger.due(one.max);
        } else if (one.taken) deliver();
        else underWay = [];
      }
      underWay = [];
      for (underWay = ledger.due(2); underWay.length > 0; underWay = ledger.due(2)) deliver();
      const sums = (map: typeof counted) =>
        [...map]
          .filter(([, sum]) => sum.inputBytes + sum.outputBytes > 0)
          .sort(([a], [b]) => (a < b ? -1 : 1));
      expect(sums(delivered)).toEqual(sums(counted));
    }),
    { numRuns: 500 },
  );
});
