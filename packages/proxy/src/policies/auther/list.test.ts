import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { listAuther } from './list.ts';

const ask = (username: string, password: string) => ({
  username,
  password,
  client: '127.0.0.1:1',
  service: 'front',
  certificate: undefined,
});

describe('the auther whose users stand in the configuration', () => {
  const auther = listAuther([
    { username: 'ada', password: 'old' },
    { username: 'ada', password: 'change-me' },
    { username: 'grace', password: 'päss:wörd' },
  ]);

  test.each([
    ['ada', 'change-me', true],
    ['grace', 'päss:wörd', true],
    ['ada', 'old', false],
    ['ada', '', false],
    ['ada', 'change-m', false],
    ['Ada', 'change-me', false],
    ['', '', false],
    ['__proto__', 'change-me', false],
  ])('%j with %j: %j', async (username, password, ok) => {
    const events: CallEvent[] = [];
    const answer = await auther.authenticate(ask(username, password), {
      meta: {},
      session: 's1',
      observe: (event) => events.push(event),
    });
    expect(answer).toEqual({ ok, user: ok ? username : '' });
    expect(events).toMatchObject([{ session: 's1', outcome: 'ok', transport: 'local', source: 'live' }]);
    expect(events[0]!.reason === undefined).toBe(ok);
  });

  test('without a name or a password there is no user', () => {
    expect(() => listAuther([{ username: '', password: 'x' }])).toThrow(TypeError);
    expect(() => listAuther([{ username: 'x', password: '' }])).toThrow(TypeError);
  });
});
