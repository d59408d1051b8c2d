import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AnyMethod, Int64 } from '../contract.ts';
import { decodeMessage } from '../wire/proto.ts';
import { addressKey, keyOf } from './cache-key.ts';
import { auth, contracts, contractOf, hosts, limiter, observer, resolver, type LimiterAsk } from './index.ts';

/** The table of the design: when a module could not be asked, and how long it is waited for. */
const defaults = [
  // method, onError, timeout, coalesced, sent again
  ['admission.admit', 'refuse', 1_000, true, true],
  ['auth.authenticate', 'refuse', 2_000, false, true],
  ['bypass.bypass', 'refuse', 1_000, true, true],
  ['hop.select', 'refuse', 1_000, false, true],
  ['hosts.lookup', 'refuse', 1_000, true, true],
  ['ingress.getRule', 'none', 1_000, true, true],
  ['ingress.setRule', 'queue', 5_000, false, true],
  ['limiter.limit', 'lastGood', 1_000, false, true],
  ['observer.observe', 'queue', 5_000, false, false],
  ['recorder.record', 'queue', 5_000, false, false],
  ['resolver.resolve', 'refuse', 5_000, true, true],
  ['rewriter.rewrite', 'refuse', 5_000, false, true],
  ['router.getRoute', 'none', 1_000, true, true],
  ['sd.deregister', 'queue', 5_000, false, true],
  ['sd.get', 'none', 1_000, true, true],
  ['sd.register', 'queue', 5_000, false, true],
  ['sd.renew', 'queue', 5_000, false, true],
];

describe('contracts', () => {
  const all = contracts.flatMap(({ kind, methods }) =>
    Object.entries<AnyMethod>(methods).map(([name, method]) => ({ name: `${kind}.${name}`, method })),
  );

  it('have the defaults of the design', () => {
    const rows = all.map(({ name, method }) => {
      return [name, method.onError, method.timeoutMs, method.coalesce, method.idempotent];
    });
    expect(rows.sort()).toEqual(defaults);
  });

  it('combine several as the design says, under their sections', () => {
    expect(Object.fromEntries(contracts.map(({ section, combine }) => [section, combine]))).toEqual({
      admissions: 'all',
      authers: 'any',
      bypasses: 'bypass',
      hops: 'one',
      hosts: 'first',
      ingresses: 'one',
      limiters: 'one',
      observers: 'each',
      recorders: 'each',
      resolvers: 'one',
      rewriters: 'one',
      routers: 'one',
      sds: 'one',
    });
    for (const contract of contracts) expect(contractOf(contract.kind)).toBe(contract);
  });

  it('have a cache key wherever calls are coalesced', () => {
    for (const { name, method } of all) if (method.coalesce) expect(method.cacheKey, name).toBeDefined();
  });

  it('have keys that hold every input of the question', () => {
    for (const { name, method } of all) {
      if (method.cacheKey === undefined) continue;
      const text = Object.fromEntries(
        method.request.fields.map((field) => [field.name, field.repeated ? ['x'] : 'x']),
      );
      const keyFor = (request: object) =>
        method.cacheKey!(method.wire.ask(request), (secret) => `#${secret}`);
      for (const field of method.request.fields) {
        const other = { ...text, [field.name]: field.repeated ? ['x', 'y'] : 'y' };
        expect(keyFor(other), `${name}: ${field.name}`).not.toBe(keyFor(text));
      }
    }
  });

  it('leave the source port out of keys', () => {
    const at = { admit: 'addr', authenticate: 'client', select: 'src', limit: 'src' } as Record<
      string,
      string
    >;
    for (const contract of contracts) {
      for (const [name, method] of Object.entries<AnyMethod>(contract.methods)) {
        const field = at[name];
        if (field === undefined) continue;
        const empty = decodeMessage(method.request, Buffer.alloc(0));
        const from = (address: string) =>
          method.cacheKey!(method.wire.ask({ ...empty, [field]: address }), (secret) => secret);
        expect(from('10.0.0.1:1')).toBe(from('10.0.0.1:2'));
        expect(from('[::1]:1')).toBe(from('[::1]:2'));
        expect(from('10.0.0.1:1')).not.toBe(from('10.0.0.2:1'));
        expect(from('::1')).not.toBe(from('::2'));
      }
    }
  });

  it('let passwords into a key only through the keyed hash', () => {
    const ask = { username: 'u', password: 'hunter2', client: '', service: '', certificate: undefined };
    const key = auth.methods.authenticate.cacheKey!(ask, () => 'hashed');
    expect(key).not.toContain('hunter2');
    expect(key).toContain('hashed');
  });
});

describe('keys', () => {
  it('are different for different lists, whatever they hold', () => {
    const parts = fc.array(fc.string({ unit: fc.constantFrom('1', ':', 'a', '\n') }), { maxLength: 4 });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        expect(keyOf(...a) === keyOf(...b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['10.0.0.1:80', '10.0.0.1'],
    ['10.0.0.1', '10.0.0.1'],
    ['[::1]:80', '[::1]'],
    ['::1', '::1'],
    ['', ''],
    ['unix', 'unix'],
  ])('take %s as %s', (address, key) => {
    expect(addressKey(address)).toBe(key);
  });
});

describe('limiter', () => {
  const { wire } = limiter.methods.limit;
  const ask: LimiterAsk = { scope: 'client', service: '', network: '', target: '', user: 'u', client: '' };

  it.each([
    ['service', '$'],
    ['conn', '$$'],
    ['client', 'u'],
  ])('scope %s fills the bucket %s', (scope, share) => {
    expect(wire.answer({ in: 1, out: 2n ** 60n }, { ...ask, scope })).toEqual([
      { in: 1, out: 2n ** 60n, share },
    ]);
  });

  it('has no limit at 0 and below', () => {
    expect(wire.answer({ in: 0, out: -5n }, ask)).toEqual([{ in: 0, out: 0, share: 'u' }]);
  });

  it('says the tightest of several rates', () => {
    const rate = (into: Int64, out: Int64) => ({ in: into, out, share: '$' });
    const request = wire.request(ask);
    expect(wire.reply([], request, 'grpc')).toEqual({ in: 0, out: 0 });
    expect(wire.reply([rate(0, 7n), rate(5, 0), rate(9, 3)], request, 'grpc')).toEqual({ in: 5, out: 3 });
  });
});

describe('names', () => {
  const mixed = ['10.0.0.1', 'no.ip', '', '::1', 'fe80::1%eth0', '10.0.0.1:80', '010.0.0.1'];

  it('hosts: addresses decide, whatever ok says; what is none is skipped', () => {
    const { wire } = hosts.methods.lookup;
    const ask = { network: 'ip', host: 'h', user: '' };
    expect(wire.answer({ ips: mixed, ok: false }, ask)).toEqual(['10.0.0.1', '::1']);
    expect(wire.answer({ ips: [], ok: true }, ask)).toEqual([]);
    expect(wire.reply([], wire.request(ask), 'http')).toEqual({ ips: [], ok: false });
  });

  it('resolver: not ok is no address', () => {
    const { wire } = resolver.methods.resolve;
    const ask = { network: 'ip', host: 'h', user: '' };
    expect(wire.answer({ ips: mixed, ok: true }, ask)).toEqual(['10.0.0.1', '::1']);
    expect(wire.answer({ ips: mixed, ok: false }, ask)).toEqual([]);
  });
});

describe('observer', () => {
  it('keeps the place of events that it does not know', () => {
    const { wire } = observer.methods.observe;
    const event = {
      kind: 'service',
      service: 's',
      client: '',
      type: 'later',
      stats: undefined,
      status: undefined,
    };
    const { events } = wire.ask({ events: [event] });
    expect(events).toEqual([{ type: 'other', name: 'later', kind: 'service', service: 's', user: '' }]);
    expect(wire.request({ events }).events).toEqual([event]);
  });
});
