import { describe, expect, test } from 'vitest';
import type { SdService } from '@sallyport/plugin';
import { manualWheel, settled } from '../../core/manual-clock.fixture.ts';
import { createRegistrar } from './registrar.ts';
import { routerId } from './scene.fixture.ts';

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
  const registrar = createRegistrar({
    policy: { register: verb('register'), renew: verb('renew'), deregister: verb('deregister') },
    ...{ node: 'node', address: '192.0.2.1:8421', renewMs: 15_000, wheel },
    host: {
      problem: ({ message }) => told.push(message),
      inform: (text) => told.push(text),
    },
  });
  const verbs = () => said.splice(0).map((one) => one.verb);
  return { clock, registrar, said, verbs, told, world };
}

const site = { id: 'connection', gateway: 'site-a' };
const whole: SdService = {
  ...{ id: 'connection', name: `site-a@${routerId}`, node: 'node' },
  ...{ network: 'udp', address: '192.0.2.1:8421' },
};
const fails = () => Promise.reject(new Error('no answer'));

describe('a gateway', () => {
  test('is registered, renewed and deregistered, each with all fields', async () => {
    const { clock, registrar, said } = scene();
    registrar.joined(routerId, site);
    await settled();
    clock.advance(14_000);
    await settled();
    expect(said).toHaveLength(1);
    clock.advance(1100);
    await settled();
    clock.advance(15_100);
    await settled();
    registrar.left(site);
    await settled();
    expect(said.map(({ verb }) => verb)).toEqual(['register', 'renew', 'renew', 'deregister']);
    for (const { service } of said) expect(service).toEqual(whole);
    clock.advance(60_000);
    await settled();
    expect(said).toHaveLength(4);
  });

  test('that leaves while it is being registered is deregistered after that', async () => {
    const { registrar, verbs, world } = scene();
    let done!: () => void;
    world.answer = () => new Promise((resolve) => (done = resolve));
    registrar.joined(routerId, site);
    registrar.left(site);
    expect(verbs()).toEqual(['register']);
    done();
    await settled();
    expect(verbs()).toEqual(['deregister']);
  });

  test('that leaves while a failing call is under way is deregistered all the same', async () => {
    const { registrar, verbs, world } = scene();
    let fail!: () => void;
    world.answer = () => new Promise((_resolve, reject) => (fail = () => reject(new Error('late'))));
    registrar.joined(routerId, site);
    registrar.left(site);
    world.answer = () => Promise.resolve();
    fail();
    await settled();
    expect(verbs()).toEqual(['register', 'deregister']);
  });
});

describe('while nobody answers', () => {
  test('it is tried again, with more and more time between; told once, and once when it is over', async () => {
    const { clock, registrar, verbs, told, world } = scene();
    world.answer = fails;
    registrar.joined(routerId, site);
    await settled();
    const times: number[] = [];
    for (let second = 0; second < 60; second++) {
      clock.advance(1000);
      await settled();
      for (const _verb of verbs()) times.push(second);
    }
    expect(times.length).toBeGreaterThan(4);
    expect(times.length).toBeLessThan(12);
    expect(told).toEqual([expect.stringContaining('no answer')]);
    world.answer = () => Promise.resolve();
    clock.advance(16_000);
    await settled();
    expect(verbs()).toEqual(['register']);
    expect(told[1]).toContain('told again');
  });

  test('what could not be renewed is registered anew: it may be forgotten', async () => {
    const { clock, registrar, verbs, world } = scene();
    registrar.joined(routerId, site);
    await settled();
    world.answer = fails;
    clock.advance(15_100);
    await settled();
    world.answer = () => Promise.resolve();
    clock.advance(1100);
    await settled();
    clock.advance(15_100);
    await settled();
    expect(verbs()).toEqual(['register', 'renew', 'register', 'renew']);
  });

  test('what has left is left to expire in the end', async () => {
    const { clock, registrar, verbs, world } = scene();
    registrar.joined(routerId, site);
    await settled();
    verbs();
    world.answer = fails;
    registrar.left(site);
    for (let second = 0; second < 100; second++) {
      clock.advance(1000);
      await settled();
    }
    expect(verbs()).toEqual(Array.from({ length: 5 }, () => 'deregister'));
  });

  test('sixteen calls are under way at once, and what left before its turn is never spoken of', async () => {
    const { registrar, verbs, world } = scene();
    const done: (() => void)[] = [];
    world.answer = () => new Promise((resolve) => done.push(resolve));
    const sites = Array.from({ length: 40 }, (_, index) => ({
      id: String(index),
      gateway: `site-${String(index)}`,
    }));
    for (const one of sites) registrar.joined(routerId, one);
    expect(verbs()).toHaveLength(16);
    for (const one of sites.slice(20)) registrar.left(one);
    for (const one of done.splice(0)) one();
    await settled();
    expect(verbs()).toEqual(Array.from({ length: 4 }, () => 'register'));
  });
});

describe('closing', () => {
  test('takes everything back', async () => {
    const { registrar, verbs } = scene();
    registrar.joined(routerId, site);
    registrar.joined(routerId, { ...site, id: 'other' });
    await settled();
    await registrar.close();
    expect(verbs()).toEqual(['register', 'register', 'deregister', 'deregister']);
    await registrar.close();
  });

  test('waits no longer than 5 s', async () => {
    const { clock, registrar, world } = scene();
    registrar.joined(routerId, site);
    await settled();
    world.answer = () => new Promise(() => undefined);
    let isClosed = false;
    void registrar.close().then(() => (isClosed = true));
    clock.advance(4900);
    await settled();
    expect(isClosed).toBe(false);
    clock.advance(200);
    await settled();
    expect(isClosed).toBe(true);
  });
});
