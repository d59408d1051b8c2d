import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { listBypass } from './list.ts';
import type { ListBypass } from './list.ts';

function ask(policy: ListBypass, target: string, { host = '', network = 'tcp' } = {}) {
  const events: CallEvent[] = [];
  const call = { meta: {}, session: 's1', observe: (event: CallEvent) => events.push(event) };
  const passedBy = policy.bypass({ target, host, network, user: '', path: '', service: 'front' }, call);
  expect(events).toMatchObject([
    { module: 'bypass', method: 'bypass', session: 's1', transport: 'local', outcome: 'ok' },
  ]);
  return [passedBy, events[0]!.reason];
}

describe('the bypass whose rules stand in the configuration', () => {
  test('a blacklist passes by what matches', () => {
    const policy = listBypass({ matchers: ['.example.com', '10.0.0.0/8', '*.org:80'] });
    expect(ask(policy, 'www.example.com:443')).toEqual([true, 'matches .example.com']);
    expect(ask(policy, '10.1.2.3:80')).toEqual([true, 'matches 10.0.0.0/8']);
    expect(ask(policy, '[::ffff:10.1.2.3]:80')).toEqual([true, 'matches 10.0.0.0/8']);
    expect(ask(policy, 'a.org:80')).toEqual([true, 'matches *.org:80']);
    expect(ask(policy, 'a.org:81')).toEqual([false, undefined]);
    // A DNS query has a name alone.
    expect(ask(policy, 'example.com')).toEqual([true, 'matches .example.com']);
    expect(ask(policy, '')).toEqual([false, undefined]);
  });

  test('a whitelist passes by all else', () => {
    const policy = listBypass({ matchers: ['example.com'], whitelist: true });
    expect(ask(policy, 'example.com:443')).toEqual([false, 'matches example.com']);
    expect(ask(policy, 'example.org:443')).toEqual([true, 'matches no rule of the whitelist']);
    expect(ask(listBypass({ whitelist: true }), 'example.org:443')[0]).toBe(true);
  });

  test('at a hop the name that was asked for counts as well as the address', () => {
    const blacklist = listBypass({ matchers: ['example.com'] });
    expect(ask(blacklist, '192.0.2.1:443', { host: 'example.com:443' })).toEqual([
      true,
      'matches example.com',
    ]);
    const whitelist = listBypass({ matchers: ['example.com'], whitelist: true });
    expect(ask(whitelist, '192.0.2.1:443', { host: 'example.com:443' })[0]).toBe(false);
    expect(ask(whitelist, '192.0.2.1:443', { host: 'example.org:443' })[0]).toBe(true);
  });

  test('may be about one network only', () => {
    const policy = listBypass({ matchers: ['example.com'], network: 'udp' });
    expect(ask(policy, 'example.com:53', { network: 'udp' })[0]).toBe(true);
    expect(ask(policy, 'example.com:53', { network: 'udp4' })[0]).toBe(true);
    expect(ask(policy, 'example.com:53')).toEqual([false, 'is about udp only']);
    const whole = listBypass({ network: 'udp' });
    expect(ask(whole, 'example.org:53', { network: 'udp' })).toEqual([true, 'matches all of udp']);
    expect(ask(whole, 'example.org:53')[0]).toBe(false);
    const white = listBypass({ matchers: ['example.com'], network: 'udp', whitelist: true });
    expect(ask(white, 'example.org:53')[0]).toBe(false);
  });

  test('without rules nothing is passed by', () => {
    expect(ask(listBypass({}), 'example.org:443')).toEqual([false, undefined]);
  });

  test('only a blacklist wants to see what a name resolves to', () => {
    expect(listBypass({ matchers: ['10.0.0.0/8'] }).speaksOfAddresses).toBe(true);
    expect(listBypass({ matchers: ['10.0.0.0/8'], whitelist: true }).speaksOfAddresses).toBe(false);
    expect(listBypass({ matchers: ['example.com'] }).speaksOfAddresses).toBe(false);
  });

  test('a rule that cannot be read is named', () => {
    expect(() => listBypass({ matchers: ['example.com', '10.0.0.0/99'] })).toThrow(
      '"10.0.0.0/99" is no network',
    );
  });
});
