import { PluginError, observer as contract } from '@sallyport/plugin';
import type { ObserverEvent } from '@sallyport/plugin';
import { inMemoryPlugin } from '@sallyport/plugin/testing';
import { describe, expect, test } from 'vitest';
import { ProxyError } from '../core/errors.ts';
import { manualWheel, settled } from '../core/manual-clock.fixture.ts';
import type { PolicyOf } from '../core/policies.ts';
import {
  scene,
  sessionOf,
  closedOf,
  opened,
  dialing,
  failure,
  status,
  stats,
  carry,
} from './observation.fixture.ts';
import type { Calls } from './observation.fixture.ts';
import { createObservation } from './observation.ts';

describe('states', () => {
  test('are told at once, in order, over the wire as GOST says them', async () => {
    const seen: ObserverEvent[] = [];
    const observation = createObservation({
      ...{ service: 'front', of: 'service', note: () => undefined },
      observer: inMemoryPlugin(contract, {
        observe({ events }) {
          seen.push(...events);
          return true;
        },
      }),
    });
    for (const state of ['running', 'ready', 'closed'] as const) observation.tell(state);
    await observation.close();
    expect(seen).toEqual([status('running'), status('ready'), status('closed')]);
  });

  test('that cannot be told wait, in order, and are tried again after 1, 2, 4, 5, 5 s', async () => {
    let down = true;
    const { clock, calls, notes, observation } = scene({}, () => {
      if (down) throw new PluginError('unreachable', 'nobody listens');
      return true;
    });
    observation.tell('running');
    observation.tell('ready');
    await settled();
    const pauses: number[] = [];
    for (let before = clock.nowMs; pauses.length < 5; before = clock.nowMs) {
      const count = calls.length;
      await clock.runUntil(() => calls.length > count);
      pauses.push(Math.round((clock.nowMs - before) / 100) * 100);
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
    down = false;
    observation.tell('failed', 'why');
    const count = calls.length;
    await clock.runUntil(() => calls.length > count);
    expect(calls.at(-1)).toEqual([
      status('running'),
      status('ready'),
      { ...status('failed'), message: 'service front is failed: why' },
    ]);
    await settled();
    expect(notes).toEqual([
      'the observer of front cannot be told, and is tried again: nobody listens',
      'the observer of front can be told again',
    ]);
  });

  test('a no is no delivery', async () => {
    let answers = 0;
    const { calls, observation, pass } = scene({}, () => answers++ > 0);
    observation.tell('running');
    await pass(1_010);
    expect(calls).toEqual([[status('running')], [status('running')]]);
  });

  test('that wait are bounded, and the newest stay', async () => {
    const { calls, notes, observation, closed } = scene({ maxStatuses: 2 }, () => calls.length > 1);
    for (const state of ['running', 'ready', 'failed', 'closed'] as const) observation.tell(state);
    await closed();
    expect(calls.at(-1)).toEqual([status('failed'), status('closed')]);
    expect(notes).toContain('the observer of front has not been told for so long that states are dropped');
  });
});

describe('stats of a service', () => {
  test('are told once a period, when something has changed, with what open connections carry', async () => {
    const { calls, observation, pass } = scene();
    const session = sessionOf();
    await pass(20_000);
    expect(calls).toEqual([]);
    observation.read(session, opened);
    carry(session, 10);
    await pass(5_000);
    carry(session, 5);
    await pass(5_000);
    await pass(20_000);
    observation.read(session, closedOf(session, failure));
    await pass(5_000);
    expect(calls).toEqual([[stats(1, 1, 10)], [stats(1, 1, 15)], [stats(1, 0, 15, 1)]]);
  });

  test('are off unless they are enabled; states are told all the same', async () => {
    const { calls, observation, pass } = scene({ enableStats: false });
    observation.tell('ready');
    observation.read(sessionOf(), opened);
    await pass(20_000);
    expect(calls).toEqual([[status('ready')]]);
  });

  test('a period is at least a second', async () => {
    const { calls, observation, pass } = scene({ periodMs: 1 });
    observation.read(sessionOf(), opened);
    await pass(900);
    expect(calls).toEqual([]);
    await pass(200);
    expect(calls).toHaveLength(1);
  });

  test('that were not taken grow with what comes; states go before them, and the end after', async () => {
    let down = true;
    const { calls, observation, pass, closed } = scene({}, () => !down);
    const session = sessionOf();
    observation.read(session, opened);
    carry(session, 1);
    await pass(5_000);
    carry(session, 2);
    observation.tell('ready');
    await pass(5_100);
    expect(calls.at(-1)).toEqual([status('ready'), stats(1, 1, 3)]);
    down = false;
    carry(session, 4);
    observation.read(session, closedOf(session));
    observation.tell('closed');
    await closed();
    expect(calls.at(-1)).toEqual([status('ready'), stats(1, 0, 7), status('closed')]);
    expect(calls.filter((events) => events.length === 3)).toHaveLength(1);
  });

  test('a client that hangs up is no error, and a connection is one at most', async () => {
    const { calls, observation, pass } = scene();
    const [left, broken] = [sessionOf(), sessionOf()];
    const served = { kind: 'served', what: 'GET', target: undefined, user: '', status: 503, ms: 1 } as const;
    for (const session of [left, broken]) observation.read(session, opened);
    observation.read(broken, { ...served, error: failure });
    observation.read(broken, { ...served, error: failure });
    observation.read(broken, closedOf(broken, failure));
    observation.read(left, closedOf(left, new ProxyError('clientClosed', 'client', 'gone')));
    // What is told of a session that is over does not open it again.
    observation.read(left, dialing);
    await pass(5_000);
    expect(calls).toEqual([[stats(2, 0, 0, 1)]]);
  });
});

describe('stats of users', () => {
  const of = (...args: Parameters<typeof stats>) => ({ ...stats(...args), kind: 'handler' });

  test('are of who was let in; on a connection that is kept, of who it is by now', async () => {
    const { calls, observation, pass } = scene({ of: 'users' });
    const refused = sessionOf();
    observation.read(refused, opened);
    observation.read(refused, closedOf(refused, failure));
    const session = sessionOf();
    observation.read(session, opened);
    carry(session, 1);
    session.user = 'a';
    observation.read(session, dialing);
    carry(session, 2);
    // While it is asked again who it is.
    session.user = '';
    observation.read(session, dialing);
    await pass(5_000);
    expect(calls).toEqual([[of(1, 1, 3, 0, 'a')]]);
    carry(session, 4);
    session.user = 'b';
    observation.read(session, dialing);
    carry(session, 8);
    observation.read(session, closedOf(session, failure));
    await pass(5_000);
    expect(calls[1]).toEqual([of(1, 0, 7, 0, 'a'), of(1, 0, 8, 1, 'b')]);
    expect(calls).toHaveLength(2);
  });

  test('where nobody is asked, are of the empty name', async () => {
    const { calls, observation, pass } = scene({ of: 'users' });
    const session = sessionOf();
    observation.read(session, opened);
    observation.read(session, dialing);
    carry(session, 3);
    await pass(5_000);
    expect(calls).toEqual([[of(1, 1, 3)]]);
  });

  test('of who the client reaches count what goes to the client as what comes in', async () => {
    const { calls, observation, pass } = scene({ of: 'users' });
    const session = Object.assign(sessionOf('tunnel'), { isUserFarEnd: true });
    observation.read(session, opened);
    observation.read(session, dialing);
    carry(session, 3);
    await pass(5_000);
    const { stats: counted, ...rest } = of(1, 1, 3, 0, 'tunnel');
    const { inputBytes: outputBytes, outputBytes: inputBytes } = counted;
    expect(calls).toEqual([[{ ...rest, stats: { ...counted, inputBytes, outputBytes } }]]);
  });

  test('many go in calls of a bounded size, one after the other', async () => {
    const { calls, observation, pass } = scene({ of: 'users', maxEvents: 10 });
    for (let i = 0; i < 25; i++) {
      const session = sessionOf(`u${String(i)}`);
      observation.read(session, opened);
      observation.read(session, closedOf(session));
    }
    await pass(5_000);
    await settled();
    expect(calls.map(({ length }) => length)).toEqual([10, 10, 5]);
    expect(new Set(calls.flat().map(({ user }) => user)).size).toBe(25);
    await pass(20_000);
    expect(calls).toHaveLength(3);
  });

  test('more than there is room for are lost, which is told', async () => {
    const { notes, observation, pass } = scene({ of: 'users', maxUntaken: 3 }, () => false);
    for (let i = 0; i < 5; i++) {
      const session = sessionOf(`u${String(i)}`);
      observation.read(session, opened);
      observation.read(session, closedOf(session));
    }
    await pass(5_000);
    expect(notes[0]).toBe(
      'the observer of the users of front: the stats of 2 users were lost for want of room',
    );
  });
});

describe('an observer that hangs', () => {
  test('holds up neither start nor traffic, and the end only until the deadline', async () => {
    const { clock, calls, notes, observation } = scene({}, () => new Promise(() => undefined));
    observation.tell('running');
    observation.read(sessionOf(), opened);
    let closed = false;
    void observation.close().then(() => (closed = true));
    await settled();
    clock.advance(4_900);
    await settled();
    expect(closed).toBe(false);
    clock.advance(200);
    await settled();
    expect(closed).toBe(true);
    expect(calls).toHaveLength(1);
    expect(notes).toEqual(['the observer of front was not told everything before the end']);
  });

  test('for one service is there for the others', async () => {
    const { clock, wheel } = manualWheel();
    const calls: Calls = [];
    const observer: PolicyOf<'observer'> = {
      observe({ events }) {
        calls.push(events);
        return events[0]!.service === 'b' ? true : new Promise(() => undefined);
      },
    };
    const make = (service: string) =>
      createObservation({ service, of: 'service', observer, wheel, note: () => undefined });
    const [a, b] = [make('a'), make('b')];
    a.tell('running');
    let closed = false;
    void a.close().then(() => (closed = true));
    await clock.runUntil(() => closed);
    b.tell('running');
    await b.close();
    expect(calls.map((events) => events.map(({ service }) => service))).toEqual([['a'], ['b']]);
  });
});

test('what comes while the last call is under way is told before the end', async () => {
  let answer!: (taken: boolean) => void;
  const { calls, observation, pass, clock } = scene(
    {},
    () => new Promise<boolean>((resolve) => (answer = resolve)),
  );
  const session = sessionOf();
  observation.read(session, opened);
  await pass(5_000);
  carry(session, 7);
  observation.read(session, closedOf(session));
  observation.tell('closed');
  let closed = false;
  void observation.close().then(() => (closed = true));
  answer(true);
  await settled();
  answer(true);
  await clock.runUntil(() => closed);
  expect(calls).toEqual([[stats(1, 1, 0)], [stats(1, 0, 7), status('closed')]]);
});

test('with nothing to tell there is nothing to wait for', async () => {
  const { observation, calls } = scene();
  await observation.close();
  expect(calls).toEqual([]);
});
