import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Call, CallEvent, Contract, Member, Methods, OnError, Policy } from '../contract.ts';
import { admission } from '../contracts/admission.ts';
import { auth } from '../contracts/auth.ts';
import { bypass } from '../contracts/bypass.ts';
import { hop } from '../contracts/hop.ts';
import { hosts } from '../contracts/hosts.ts';
import { ingress } from '../contracts/ingress.ts';
import { limiter } from '../contracts/limiter.ts';
import { recorder } from '../contracts/recorder.ts';
import { sd } from '../contracts/sd.ts';
import { PluginError } from '../errors.ts';
import { combine } from './combine.ts';

const down = new PluginError('unreachable', 'it is down', { endpoint: 'grpc://down:1' });
const call = (): Call => ({ meta: {} });

/** A member whose methods all say the next of these, or throw it; the last is said again and again. */
function member<M extends Methods>(
  contract: Contract<M>,
  said: unknown,
  more: { onError?: OnError<unknown>; whitelist?: boolean; name?: string } = {},
): Member<M> & { asked: number } {
  const says = Array.isArray(said) ? [...(said as unknown[])] : [said];
  const policy: Record<string, unknown> = {};
  const made = { name: more.name ?? 'm', onError: more.onError, whitelist: more.whitelist, asked: 0 };
  for (const name of Object.keys(contract.methods)) {
    policy[name] = () => {
      made.asked++;
      const next = says.length > 1 ? says.shift() : says[0];
      if (next instanceof Error) throw next;
      return next;
    };
  }
  return Object.assign(made, { policy: policy as Policy<M> });
}

const yes = { ok: true, user: 'a' };
const no = { ok: false, user: '' };
const authAsk = { username: 'u', password: 'p', client: '1.2.3.4:5', service: 's', certificate: undefined };
const authenticate = (...members: readonly Member<typeof auth.methods>[]) =>
  combine(auth, members).authenticate(authAsk, call());

describe('authers: the first yes', () => {
  test('is taken, and nobody is asked after it', async () => {
    const [first, second, third] = [no, yes, yes].map((said) => member(auth, said)) as [
      ReturnType<typeof member<typeof auth.methods>>,
      ReturnType<typeof member<typeof auth.methods>>,
      ReturnType<typeof member<typeof auth.methods>>,
    ];
    await expect(authenticate(first, second, third)).resolves.toEqual(yes);
    expect([first.asked, second.asked, third.asked]).toEqual([1, 1, 0]);
  });

  test('a yes beside a silent member is a yes; a no beside one is "could not ask"', async () => {
    await expect(authenticate(member(auth, down), member(auth, yes))).resolves.toEqual(yes);
    await expect(authenticate(member(auth, down), member(auth, no))).rejects.toBe(down);
    await expect(authenticate(member(auth, no), member(auth, down))).rejects.toBe(down);
  });

  test('a literal onError is that answer', async () => {
    await expect(authenticate(member(auth, down, { onError: 'allow' }))).resolves.toEqual({
      ok: true,
      user: '',
    });
    const reply = { ok: true, user: 'guest' };
    await expect(authenticate(member(auth, down, { onError: { reply } }))).resolves.toEqual(reply);
    // Refused: the other's own no is the answer; alone, the reason is told.
    const refusing = () => member(auth, down, { onError: 'refuse' });
    await expect(authenticate(refusing(), member(auth, no))).resolves.toEqual(no);
    await expect(authenticate(refusing(), member(auth, yes))).resolves.toEqual(yes);
    await expect(authenticate(refusing())).rejects.toBe(down);
  });

  test('lastGood is the last answer to the same question, and to no other', async () => {
    const group = combine(auth, [member(auth, [yes, down], { onError: 'lastGood' })]);
    await expect(Promise.resolve(group.authenticate(authAsk, call()))).resolves.toEqual(yes);
    await expect(
      Promise.resolve(group.authenticate({ ...authAsk, client: '1.2.3.4:9' }, call())),
    ).resolves.toEqual(yes);
    await expect(Promise.resolve(group.authenticate({ ...authAsk, password: 'x' }, call()))).rejects.toBe(
      down,
    );
  });

  test('what is told in the background fails all the same, so that it is told later', async () => {
    const service = { id: 'i', name: 'n', node: 'o', network: 'tcp', address: 'a:1' };
    const rule = { host: 'h', endpoint: 'e', service: 's' };
    for (const onError of ['allow', 'lastGood', 'refuse', { reply: 'e' }] as const) {
      const told = combine(ingress, [member(ingress, down, { onError })]);
      await expect(told.setRule(rule, call())).rejects.toBe(down);
      const known = combine(sd, [member(sd, down, { onError })]);
      for (const verb of ['register', 'renew', 'deregister'] as const)
        await expect(known[verb](service, call())).rejects.toBe(down);
    }
    // Who is told everything and asked nothing may be given up.
    const records = combine(recorder, [member(recorder, down, { onError: 'allow' })]);
    await expect(records.record({ data: Buffer.alloc(0), metadata: null }, call())).resolves.toBe(true);
  });

  test('who has gone is told so, whatever onError says; a fault of a built-in is "could not ask"', async () => {
    const gone = new PluginError('canceled', 'gone');
    await expect(authenticate(member(auth, gone, { onError: 'allow' }))).rejects.toBe(gone);
    await expect(authenticate(member(auth, new TypeError('oops'), { name: 'list' }))).rejects.toMatchObject({
      name: 'PluginError',
      code: 'internal',
      message: 'list: oops',
    });
  });

  test('an answer by onError is published, after the failed call', async () => {
    const events: CallEvent[] = [];
    const observe = (event: CallEvent) => events.push(event);
    const group = combine(auth, [member(auth, down, { onError: 'allow', name: 'x' })]);
    await group.authenticate(authAsk, { meta: {}, session: 's1', observe });
    expect(events).toEqual([
      expect.objectContaining({
        module: 'auth',
        method: 'authenticate',
        name: 'x',
        session: 's1',
        source: 'fallback',
        outcome: 'unreachable',
        endpoint: 'grpc://down:1',
        reason: 'onError: allow',
        error: 'it is down',
      }),
    ]);
  });
});

test('admissions: all must say yes; a silent one leaves it open, a no decides', async () => {
  const admit = (...said: unknown[]) =>
    combine(
      admission,
      said.map((one) => member(admission, one)),
    ).admit({ client: '1.2.3.4:5', service: '', network: 'tcp' }, call());
  await expect(admit(true, true)).resolves.toBe(true);
  await expect(admit(true, false, down)).resolves.toBe(false);
  await expect(admit(down, false)).resolves.toBe(false);
  await expect(admit(down, true)).rejects.toBe(down);
});

test('hosts: the first that has an address; a silent one refuses where no other has', async () => {
  const lookup = (...said: unknown[]) =>
    combine(
      hosts,
      said.map((one) => member(hosts, [one])),
    ).lookup({ network: 'ip', host: 'h', user: '' }, call());
  const ips = ['10.0.0.1'];
  const members = (...list: [unknown, OnError<unknown>?][]) =>
    combine(
      hosts,
      list.map(([said, onError]) => member(hosts, [said], { onError })),
    ).lookup({ network: 'ip', host: 'h', user: '' }, call());
  await expect(lookup([], ips)).resolves.toEqual(ips);
  await expect(lookup([], [])).resolves.toEqual([]);
  await expect(lookup(down, ips)).resolves.toEqual(ips);
  await expect(lookup(down, [])).rejects.toBe(down);
  await expect(members([down, 'allow'], [ips])).resolves.toEqual(ips);
  await expect(members([down, 'allow'], [[]])).resolves.toEqual([]);
  await expect(members([down, 'refuse'], [ips])).rejects.toBe(down);
});

describe('bypasses', () => {
  type Said = true | false | 'down';
  const ask = { target: 'h:1', user: '', network: 'tcp', host: '', path: '', service: '' };
  const decide = async (list: readonly { said: Said; whitelist: boolean }[]): Promise<Said> => {
    const members = list.map(({ said, whitelist }) =>
      member(bypass, said === 'down' ? down : said, { whitelist }),
    );
    try {
      return await combine(bypass, members).bypass(ask, call());
    } catch (error) {
      expect(error).toBe(down);
      return 'down';
    }
  };

  test('whitelists all, or any blacklist; a silent one refuses unless it could change nothing', async () => {
    const said = fc.constantFrom<Said>(true, false, 'down');
    const list = fc.array(fc.record({ said, whitelist: fc.boolean() }), { minLength: 1, maxLength: 5 });
    // What GOST decides, for each way in which the silent members could have answered.
    const gost = (members: readonly { said: boolean; whitelist: boolean }[]): boolean => {
      const whites = members.filter(({ whitelist }) => whitelist);
      if (whites.length > 0 && whites.every((one) => one.said)) return true;
      return members.some((one) => !one.whitelist && one.said);
    };
    const worlds = (
      members: readonly { said: Said; whitelist: boolean }[],
    ): { said: boolean; whitelist: boolean }[][] =>
      members.reduce<{ said: boolean; whitelist: boolean }[][]>(
        (all, { said, whitelist }) =>
          all.flatMap((world) =>
            (said === 'down' ? [true, false] : [said]).map((one) => [...world, { said: one, whitelist }]),
          ),
        [[]],
      );
    await fc.assert(
      fc.asyncProperty(list, async (members) => {
        const possible = new Set(worlds(members).map(gost));
        expect(await decide(members)).toBe(possible.size === 2 ? 'down' : [...possible][0]);
      }),
      { numRuns: 400 },
    );
  });

  test('allow goes on, refuse ends it', async () => {
    const one = (onError: OnError<unknown>) =>
      combine(bypass, [member(bypass, down, { onError })]).bypass(ask, call());
    await expect(one('allow')).resolves.toBe(false);
    await expect(one('refuse')).rejects.toBe(down);
    await expect(one({ reply: true })).resolves.toBe(true);
  });
});

describe('one', () => {
  const rateAsk = {
    scope: 'client',
    service: 's',
    network: 'tcp',
    target: '',
    user: 'u',
    client: '1.2.3.4:5',
  };

  test('a limiter goes by its last answer, and without one by none', async () => {
    const rates = [{ in: 1, out: 2, share: 'u' }];
    const group = combine(limiter, [member(limiter, [rates, down])]);
    await expect(Promise.resolve(group.limit(rateAsk, call()))).resolves.toBe(rates);
    await expect(Promise.resolve(group.limit(rateAsk, call()))).resolves.toBe(rates);
    await expect(Promise.resolve(group.limit({ ...rateAsk, user: 'v' }, call()))).resolves.toEqual([]);
    const refusing = combine(limiter, [member(limiter, down, { onError: 'refuse' })]);
    await expect(Promise.resolve(refusing.limit(rateAsk, call()))).rejects.toBe(down);
  });

  test('no route, no service, no rule: the default of these; their changes are tried again by the caller', async () => {
    const rule = combine(ingress, [member(ingress, down)]);
    await expect(Promise.resolve(rule.getRule({ host: 'h', service: '' }, call()))).resolves.toBeUndefined();
    await expect(
      Promise.resolve(rule.setRule({ host: 'h', endpoint: 'e', service: '' }, call())),
    ).rejects.toBe(down);
    await expect(
      Promise.resolve(combine(sd, [member(sd, down)]).get({ name: 'n' }, call())),
    ).resolves.toEqual([]);
  });

  test('a hop is never direct: there is nothing that allow could answer', async () => {
    const ask = { network: 'tcp', target: 'h:1', host: '', path: '', user: '', client: '' };
    for (const onError of ['allow', 'refuse', 'lastGood', undefined] as const) {
      const group = combine(hop, [member(hop, down, { onError })]);
      await expect(Promise.resolve(group.select(ask, call()))).rejects.toBe(down);
    }
  });

  test('several, or none, are an error', () => {
    expect(() =>
      combine(hop, [member(hop, undefined, { name: 'a' }), member(hop, undefined, { name: 'b' })]),
    ).toThrow(/one hop can be asked, not several \(a, b\)/);
    expect(() => combine(auth, [])).toThrow(/no auth/);
  });
});

test('recorders: all are told, whatever becomes of one', async () => {
  const record = { data: Buffer.from('x'), metadata: null };
  const [first, second] = [member(recorder, down), member(recorder, true)] as const;
  await expect(combine(recorder, [first, second]).record(record, call())).rejects.toBe(down);
  expect(second.asked).toBe(1);
  await expect(combine(recorder, [second, second]).record(record, call())).resolves.toBe(true);
  await expect(combine(recorder, [member(recorder, false), second]).record(record, call())).resolves.toBe(
    false,
  );
});
