import { PluginError } from '@sallyport/plugin';
import type { ObserverEvent } from '@sallyport/plugin';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { scene, sessionOf, closedOf, opened, dialing, carry } from './observation.fixture.ts';

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant('carry' as const), on: fc.nat(3), bytes: fc.nat(999) }),
  },
  fc.record({ what: fc.constant('close' as const), on: fc.nat(3) }),
  fc.record({ what: fc.constant('user' as const), on: fc.nat(3), user: fc.constantFrom('a', 'b', 'c') }),
  fc.record({ what: fc.constant('pass' as const), ms: fc.constantFrom(500, 2_000, 5_000) }),
  fc.record({
    what: fc.constant('observer' as const),
    answers: fc.constantFrom('yes', 'no', 'error', 'late'),
  }),
);

test('whatever happens, deltas that were taken add up to the traffic, for a service and for its users', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.constantFrom('service' as const, 'users' as const),
      async (steps, of) => {
        let answers = 'yes';
        let late: () => void = () => undefined;
        const taken: ObserverEvent[] = [];
        const { calls, observation, pass, closed } = scene({ of, resetTraffic: true }, () => {
          if (answers === 'error') throw new PluginError('timeout', 'too slow');
          const events = calls.at(-1)!;
          const takes = () => {
            if (answers !== 'no') taken.push(...events);
            return answers !== 'no';
          };
          // Whether a late answer is a yes shows when it comes.
          return answers === 'late'
            ? new Promise<boolean>((resolve) => {
                late = () => {
                  late = () => undefined;
                  resolve(takes());
                };
              })
            : takes();
        });
        const open = () => {
          const session = sessionOf('a');
          observation.read(session, opened);
          return session;
        };
        const sessions = Array.from({ length: 4 }, open);
        let conns = sessions.length;
        const traffic = new Map<string, number>();
        for (const one of steps) {
          if (one.what === 'pass') await pass(one.ms);
          else if (one.what === 'observer') {
            ({ answers } = one);
            late();
          } else {
            const session = sessions[one.on]!;
            if (one.what === 'carry') {
              carry(session, one.bytes);
              const subject = of === 'users' ? session.user : '';
              traffic.set(subject, (traffic.get(subject) ?? 0) + one.bytes);
            } else if (one.what === 'user') {
              // Bytes that were carried before are known to be the old one's only if somebody looked.
              observation.read(session, dialing);
              await pass(0);
              session.user = one.user;
              observation.read(session, dialing);
            } else {
              observation.read(session, closedOf(session));
              sessions[one.on] = open();
              conns++;
            }
          }
        }
        answers = 'yes';
        late();
        for (const session of sessions) observation.read(session, closedOf(session));
        observation.tell('closed');
        await closed();
        const sums = new Map<string, number>();
        const last = new Map<string, ObserverEvent>();
        for (const event of taken) {
          if (event.type !== 'stats') continue;
          sums.set(event.user, (sums.get(event.user) ?? 0) + Number(event.stats.inputBytes));
          expect(Number(event.stats.outputBytes)).toBe(2 * Number(event.stats.inputBytes));
          last.set(event.user, event);
        }
        for (const [subject, bytes] of traffic) expect(sums.get(subject) ?? 0).toBe(bytes);
        for (const event of last.values()) expect(event).toMatchObject({ stats: { currentConns: 0 } });
        if (of === 'service') expect(last.get('')).toMatchObject({ stats: { totalConns: conns } });
        expect(taken.at(-1)).toMatchObject({ type: 'status', state: 'closed' });
      },
    ),
    { numRuns: 150 },
  );
});
