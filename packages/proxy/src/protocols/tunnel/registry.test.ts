import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Conn } from '../../core/conn.ts';
import { createRegistry } from './registry.ts';
import type { Connector, RegistryOptions } from './registry.ts';

const one = '11111111-1111-4111-8111-111111111111';
const two = '22222222-2222-4222-8222-222222222222';
const ttlMs = 15_000;

function scene(options: Partial<RegistryOptions> = {}) {
  const clock = { nowMs: 1000 };
  const registry = createRegistry({ now: () => clock.nowMs, ...options });
  const claim = (id: string, user = '', tags: readonly string[] = []) =>
    registry.claim(id, { user, tags, ttlMs });
  return { clock, registry, claim };
}

function connector(more: Partial<Connector> = {}): Connector {
  const open = () => ({}) as Conn;
  return { id: crypto.randomUUID(), network: 'tcp', weight: 0, isOpen: true, open, ...more };
}

describe('whose a tunnel is', () => {
  test('who has it shares it with nobody else, until it has been without a connector for its time', () => {
    const { clock, claim } = scene();
    const first = claim(one, 'ada');
    const second = claim(one, 'ada');
    expect(() => claim(one, 'bob')).toThrow(/^the tunnel 1111.* is another user's, and not user "bob"'s$/);
    claim(two, 'bob').leave();
    first.join(connector());
    first.leave();
    first.leave();
    expect(() => claim(one, 'bob')).toThrow('another user');
    second.leave();
    clock.nowMs += ttlMs - 1;
    expect(() => claim(one, 'bob')).toThrow('another user');
    claim(one, 'ada').leave();
    clock.nowMs += 1;
    claim(one, 'bob').leave();
  });

  test('who never joined is not waited for, and does not shorten the time of who did', () => {
    const { clock, claim } = scene();
    claim(one, 'ada').leave();
    const bob = claim(one, 'bob');
    bob.join(connector());
    bob.leave();
    expect(() => claim(one, 'ada')).toThrow('another user');
    clock.nowMs += ttlMs;
    claim(one, 'ada').leave();
  });

  test('all whom nobody asks are one', () => {
    const { claim } = scene();
    claim(one).join(connector());
    claim(one).join(connector());
    expect(() => claim(one, 'ada')).toThrow('another user');
  });

  test('tags say exactly which', () => {
    const { claim } = scene();
    const tags = [`tunnel=${one.replaceAll('-', '').toUpperCase()}`, 'group=a'];
    claim(one, 'ada', tags);
    // Several users may have the same one.
    claim(one, 'bob', tags);
    expect(() => claim(two, 'ada', tags)).toThrow(
      `user "ada" may register ${one}, and not the tunnel ${two}`,
    );
    expect(() => claim(two, 'ada', ['tunnel='])).toThrow('may register no tunnel');
    claim(two, 'eve', ['group=tunnel']);
    const many = Array.from({ length: 5 }, () => `tunnel=${crypto.randomUUID()}`);
    expect(() => claim(one, '', many)).toThrow(
      /^a client without a name may register .* and 2 more, and not/,
    );
  });

  test('a tag says whose it is to those who have none, too', () => {
    const { claim } = scene();
    claim(one, 'eve');
    claim(one, 'ada', [`tunnel=${one}`]);
    expect(() => claim(one, 'eve')).toThrow('another user');
  });

  test('of those that have ended only so many are remembered, the latest', () => {
    const { claim, clock } = scene({ maxRemembered: 2 });
    const ids = Array.from({ length: 3 }, () => crypto.randomUUID());
    for (const id of ids) {
      const held = claim(id, 'ada');
      held.join(connector());
      held.leave();
      clock.nowMs++;
    }
    claim(ids[0]!, 'bob').leave();
    for (const id of ids.slice(1)) expect(() => claim(id, 'bob')).toThrow('another user');
  });
});

describe('which connector', () => {
  /** Which of these are chosen, by their places, as chance goes from 0 to 1. */
  function chosen(connectors: readonly Connector[], network: 'tcp' | 'udp' = 'tcp') {
    let at = 0;
    const { registry, claim } = scene({ random: () => at });
    for (const each of connectors) claim(one).join(each);
    const counts = connectors.map(() => 0);
    for (let step = 0; step < 100; step++) {
      at = step / 100;
      const found = registry.pick(one, network);
      if (found !== undefined) counts[connectors.indexOf(found)]!++;
    }
    return counts;
  }

  test('by their weights, 0 being 1', () => {
    expect(chosen([connector({ weight: 0 }), connector({ weight: 1 }), connector({ weight: 2 })])).toEqual([
      25, 25, 50,
    ]);
  });

  test('beside one of 255 only others of 255', () => {
    const heavy = () => connector({ weight: 255 });
    expect(chosen([connector({ weight: 254 }), heavy(), connector(), heavy()])).toEqual([0, 50, 0, 50]);
    expect(chosen([connector(), connector({ weight: 255, isOpen: false })])).toEqual([100, 0]);
  });

  // GOST takes a tunnel's only connector whatever its network is.
  test('none of the other network, and none that is closed', () => {
    expect(chosen([connector({ network: 'udp' })])).toEqual([0]);
    expect(chosen([connector({ network: 'udp' }), connector()], 'udp')).toEqual([100, 0]);
    expect(chosen([connector({ isOpen: false }), connector()])).toEqual([0, 100]);
    expect(chosen([])).toEqual([]);
  });

  test('none that was tried, and none that has left', () => {
    const { registry, claim } = scene();
    const [a, b] = [connector(), connector()];
    const leaves = claim(one);
    leaves.join(a);
    claim(one).join(b);
    expect(registry.pick(one, 'tcp', new Set([a]))).toBe(b);
    expect(registry.pick(one, 'tcp', new Set([a, b]))).toBeUndefined();
    leaves.leave();
    expect(registry.pick(one, 'tcp')).toBe(b);
    expect(registry.pick(two, 'tcp')).toBeUndefined();
    expect(registry.size).toEqual({ tunnels: 1, connectors: 1 });
  });
});

test('whatever comes and goes, nothing is left, and nobody has what another has', () => {
  const actions = fc.array(fc.record({ user: fc.nat(2), tunnel: fc.nat(2), leaves: fc.boolean() }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(actions, (steps) => {
      const { registry, clock, claim } = scene();
      const held: { user: number; tunnel: number; leave(): void }[] = [];
      for (const { user, tunnel, leaves } of steps) {
        clock.nowMs += ttlMs;
        if (leaves) {
          held.shift()?.leave();
          continue;
        }
        const id = `${String(tunnel)}${one.slice(1)}`;
        try {
          const claimed = claim(id, String(user));
          claimed.join(connector());
          held.push({ user, tunnel, leave: claimed.leave });
        } catch {
          expect(held.some((other) => other.tunnel === tunnel && other.user !== user)).toBe(true);
        }
        const owners = new Set(held.filter((other) => other.tunnel === tunnel).map((other) => other.user));
        expect(owners.size).toBe(1);
        expect(registry.size.connectors).toBe(held.length);
      }
      for (const { leave } of held) leave();
      expect(registry.size).toEqual({ tunnels: 0, connectors: 0 });
    }),
    { numRuns: 200 },
  );
});
