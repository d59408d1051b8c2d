import { describe, expect, test } from 'vitest';
import type { SdService } from '@sallyport/plugin';
import { createAnnouncer } from './announcer.ts';
import { createBackgroundQueue } from './background-queue.ts';
import { manualWheel, settled } from './manual-clock.fixture.ts';

type Verb = 'register' | 'renew' | 'deregister';

function scene() {
  const { clock, wheel } = manualWheel();
  const said: { verb: Verb; service: SdService }[] = [];
  const told: string[] = [];
  const world = { answer: (): Promise<void> => Promise.resolve() };
  const verb = (name: Verb) => (service: SdService) => {
    said.push({ verb: name, service });
    return world.answer();
  };
  const queue = createBackgroundQueue({
    what: 'sd nodes',
    problem: ({ message }) => told.push(message),
    inform: (text) => told.push(text),
    random: () => 0.5,
    wheel,
  });
  const another = () =>
    createAnnouncer({
      sd: {
        ...{ register: verb('register'), renew: verb('renew'), deregister: verb('deregister') },
        get: () => [],
      },
      ...{ node: 'node', address: () => '192.0.2.1:8421', renewMs: 15_000, queue, wheel },
    });
  const verbs = () => said.splice(0).map((one) => one.verb);
  return { clock, queue, announcer: another(), another, said, verbs, told, world };
}

const site = { id: 'connection', name: 'site-a@router', network: 'udp' };
const whole: SdService = { ...site, node: 'node', address: '192.0.2.1:8421' };
const fails = () => Promise.reject(new Error('no answer'));

describe('what is here', () => {
  test('is registered, renewed and deregistered, each with all fields', async () => {
    const { clock, announcer, said } = scene();
    announcer.here(site);
    await settled();
    clock.advance(14_900);
    await settled();
    expect(said).toHaveLength(1);
    for (const ms of [200, 15_100]) {
      clock.advance(ms);
      await settled();
    }
    announcer.gone(site);
    await settled();
    expect(said.map(({ verb }) => verb)).toEqual(['register', 'renew', 'renew', 'deregister']);
    for (const { service } of said) expect(service).toEqual(whole);
    clock.advance(60_000);
    await settled();
    expect(said).toHaveLength(4);
  });

  test('and goes while it is being registered, is deregistered after that', async () => {
    const { announcer, verbs, world } = scene();
    let done!: () => void;
    world.answer = () => new Promise((resolve) => (done = resolve));
    announcer.here(site);
    announcer.gone(site);
    expect(verbs()).toEqual(['register']);
    done();
    await settled();
    expect(verbs()).toEqual(['deregister']);
  });

  test('and goes before its turn has come, is never spoken of', async () => {
    const { announcer, verbs, world } = scene();
    const done: (() => void)[] = [];
    world.answer = () => new Promise((resolve) => done.push(resolve));
    const others = Array.from({ length: 16 }, (_, index) => ({ ...site, id: String(index) }));
    for (const one of others) announcer.here(one);
    announcer.here(site);
    announcer.gone(site);
    expect(verbs()).toHaveLength(16);
    for (const one of done.splice(0)) one();
    await settled();
    expect(verbs()).toEqual([]);
  });

  test('and could not be renewed, is registered anew: it may be forgotten', async () => {
    const { clock, announcer, verbs, told, world } = scene();
    announcer.here(site);
    await settled();
    world.answer = fails;
    clock.advance(15_100);
    await settled();
    world.answer = () => Promise.resolve();
    clock.advance(1000);
    await settled();
    clock.advance(15_100);
    await settled();
    expect(verbs()).toEqual(['register', 'renew', 'register', 'renew']);
    expect(told).toHaveLength(2);
  });

  test('may be handed over: nothing is said of that', async () => {
    const { clock, announcer, another, verbs } = scene();
    announcer.here(site);
    await settled();
    const next = another();
    announcer.handOverTo(next);
    await settled();
    announcer.gone(site);
    clock.advance(15_100);
    await settled();
    // It says once more what is here, with its own address.
    expect(verbs()).toEqual(['register', 'register', 'renew']);
    next.gone(site);
    await settled();
    expect(verbs()).toEqual(['deregister']);
  });
});
