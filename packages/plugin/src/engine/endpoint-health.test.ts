import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PluginError } from '../errors.ts';
import { createEndpointHealth } from './endpoint-health.ts';

const silent = new PluginError('timeout', 'silent');
const said = new PluginError('internal', 'said');

test('a closed endpoint is picked in order; an open one once in each while; none only when all wait', () => {
  const operation = fc.oneof(
    fc.record({ do: fc.constant('pick' as const), mayProbe: fc.boolean() }),
    fc.record({ do: fc.constant('other' as const), than: fc.nat(2) }),
    fc.record({
      do: fc.constantFrom('answered', 'silent', 'silent', 'silent', 'said', 'canceled'),
      endpoint: fc.nat(2),
    }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat(15) }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 3 }),
      fc.array(operation, { maxLength: 80 }),
      (count, failures, operations) => {
        const cooldownMs = 10;
        const health = createEndpointHealth(count, { failures, cooldownMs });
        const model = Array.from({ length: count }, () => ({ failed: 0, notBefore: 0 }));
        let now = 0;
        for (const one of operations) {
          if ('ms' in one) now += one.ms;
          else if ('endpoint' in one) {
            const endpoint = one.endpoint % count;
            const state = model[endpoint]!;
            if (one.do === 'answered') health.answered(endpoint);
            if (one.do === 'silent') health.failed(endpoint, silent, now);
            if (one.do === 'said') health.failed(endpoint, said, now);
            if (one.do === 'canceled') health.failed(endpoint, new PluginError('canceled', ''), now);
            if (one.do === 'answered' || one.do === 'said') state.failed = 0;
            if (one.do === 'silent' && ++state.failed === failures) state.notBefore = now + cooldownMs;
          } else {
            const without = 'than' in one ? one.than % count : -1;
            const candidates = model
              .map((state, index) => ({ ...state, index, open: state.failed >= failures }))
              .filter(({ index }) => index !== without);
            const well = candidates.find(({ open }) => !open);
            const due = candidates.find(({ open, notBefore }) => open && now >= notBefore);
            const probes = 'mayProbe' in one && one.mayProbe;
            const first =
              well === undefined || (probes && due !== undefined && due.index < well.index) ? due : well;
            const picked = 'than' in one ? health.other(without, now) : health.pick(now, probes);
            expect(picked).toBe(first?.index ?? -1);
            if (picked >= 0 && model[picked]!.failed >= failures) model[picked]!.notBefore = now + cooldownMs;
          }
          for (const [i, { failed }] of model.entries()) expect(health.isOpen(i)).toBe(failed >= failures);
        }
      },
    ),
    { numRuns: 500 },
  );
});
