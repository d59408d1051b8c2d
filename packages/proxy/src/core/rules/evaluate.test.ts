import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProxyError } from '../errors.ts';
import type { Decider, Question, RouteRequest, Seen } from '../route.ts';
import { createRuleTests } from './evaluate.ts';
import type { RulePolicies } from './evaluate.ts';
import { parseRule } from './parse.ts';
import type { RuleNode } from './parse.ts';

const nobody: RulePolicies = { bypass: () => undefined, admission: () => undefined };

/** Asks without a session, and writes down what it published. */
function pretendDecider() {
  const told: string[] = [];
  const decider: Decider = {
    async decide<A>({ module, about, ask, tell }: Question<A>) {
      let answer: A;
      try {
        answer = await ask({ meta: {} });
      } catch (cause) {
        throw new ProxyError('couldNotAsk', 'plugin', String(cause));
      }
      const { outcome, answer: said } = tell(answer);
      told.push(`${module} ${about} ${outcome} ${said}`);
      return answer;
    },
  };
  return { decider, told };
}

const seen = (more: Partial<Seen> = {}): Seen => ({
  ...{ protocol: 'http', host: 'example.com', authority: 'example.com:8080', method: 'GET', path: '/api/v1' },
  query: '?a=1&b=x+y&b=%C3%A9&n=5',
  headers: [
    ['Accept', 'text/html'],
    ['X-Count', '12'],
    ['x-count', 'many'],
  ],
  ...more,
});
const request = (more: Partial<RouteRequest> = {}): RouteRequest => ({
  ...{ network: 'tcp', target: undefined, host: { host: 'target.test', port: 443 } },
  ...{ client: { host: '192.0.2.1', port: 1000 }, user: 'u', service: 's', seen: seen() },
  ...more,
});
const matches = (rule: string, asked = request(), policies = nobody, { decider } = pretendDecider()) =>
  createRuleTests(policies)(parseRule(rule))(asked, decider);

describe('the functions', () => {
  test.each<[rule: string, expected: boolean, request?: Partial<RouteRequest>]>([
    ['ClientIP(`192.0.2.1`)', true],
    ['ClientIP(`192.0.2.0/24`)', true],
    ['ClientIP(`::ffff:192.0.2.1`)', true],
    ['ClientIP(`192.0.2.2`)', false],
    ['ClientIP(`192.0.2.1`)', true, { client: { host: '::ffff:192.0.2.1', port: 1 } }],
    ['ClientIP(`2001:db8::/32`)', true, { client: { host: '2001:db8::1', port: 1 } }],
    ['ClientIP(`0.0.0.0/0`)', false, { client: { host: '/run/x.sock', port: 0 } }],
    ['Network(`tcp`)', true],
    ['Network(`UDP`)', false],
    ['Network(`udp`)', true, { network: 'udp' }],
    ['Proto(`HTTP`)', true],
    ['Proto(`tls`)', false],
    ['Proto(`http`)', false, { seen: undefined }],
    ['Host(`Example.COM`)', true],
    ['Host(`a.example.com`)', false],
    ['Host(`.example.com`)', false],
    ['Host(`*.example.com`)', false],
    ['Host(`.example.com`)', true, { seen: seen({ host: 'a.b.example.com' }) }],
    ['Host(`*.example.com`)', true, { seen: seen({ host: 'a.example.com' }) }],
    ['Host(`*example.com`)', false, { seen: seen({ host: 'myexample.com' }) }],
    ['Host(`*.example.com`)', false, { seen: seen({ host: 'myexample.com' }) }],
    ['Host(`münchen.example`)', true, { seen: seen({ host: 'xn--mnchen-3ya.example' }) }],
    ['Host(`example.com`)', true, { seen: seen({ host: 'EXAMPLE.com.' }) }],
    // What was seen counts before the target; where nothing was seen, the target does.
    ['Host(`target.test`)', false],
    ['Host(`target.test`)', true, { seen: undefined }],
    ['Host(`target.test`)', true, { seen: seen({ protocol: 'ssh', host: '', authority: '' }) }],
    ['Host(`[2001:db8::1]`)', true, { seen: undefined, host: { host: '2001:db8::1', port: 1 } }],
    ['Host(`example.com`) || HostRegexp(`.`)', false, { seen: undefined, host: undefined }],
    ['HostRegexp(`^(.+\\.)?example\\.com$`)', true],
    ['HostRegexp(`^EXAMPLE`)', false],
    ['HostRegexp(`(?i)^EXAMPLE`)', true],
    ['Method(`get`)', true],
    ['Method(`POST`)', false],
    ['Path(`/api/v1`)', true],
    ['Path(`/api`)', false],
    ['Path(`/a é/b`)', true, { seen: seen({ path: '/a%20%c3%a9/b' }) }],
    ['Path(`/é`) && Query(`é`, `é`)', true, { seen: seen({ path: '/Ã©', query: '?Ã©=Ã©' }) }],
    ['Path(`/a%ffé`)', true, { seen: seen({ path: '/a%ff%C3%A9' }) }],
    ['PathPrefix(`/api`)', true],
    ['PathPrefix(`/api/v1/x`)', false],
    ['PathPrefix(`/`)', false, { seen: undefined }],
    ['PathRegexp(`^/api/v\\d$`)', true],
    ['PathRegexp(`^/api/v\\d$`)', false, { seen: seen({ path: '/api/v12' }) }],
    ['Header(`accept`)', true],
    ['Header(`Accept`, `text/html`)', true],
    ['Header(`Accept`, `text`)', false],
    ['Header(`Cookie`)', false],
    ['Header(`X-Count`, `many`)', true],
    ['Header(`X-Count`, `gt`, `11.5`)', true],
    ['Header(`X-Count`, `gt`, `12`)', false],
    ['Header(`X-Count`, `ge`, `12`) && Header(`X-Count`, `le`, `1.2e1`)', true],
    ['Header(`X-Count`, `lt`, `13`) && Header(`X-Count`, `eq`, `+12`)', true],
    ['Header(`X-Count`, `ne`, `12`)', false],
    ['Header(`X`, `é`)', true, { seen: seen({ headers: [['x', 'Ã©']] }) }],
    ['HeaderRegexp(`Accept`)', true],
    ['HeaderRegexp(`Accept`, `^text/`)', true],
    ['HeaderRegexp(`Accept`, `^html`)', false],
    ['Query(`a`)', true],
    ['Query(`A`)', false],
    ['Query(`b`, `x y`) && Query(`b`, `é`)', true],
    ['Query(`b`, `x+y`)', false],
    ['Query(`n`, `ge`, `5`)', true],
    ['Query(`n`, `lt`, `5`)', false],
    ['Query(`a`, `gt`, `0`)', false, { seen: undefined }],
    ['QueryRegexp(`b`)', true],
    ['QueryRegexp(`b`, `^\\w y$`)', true],
    ['QueryRegexp(`a`, `2`)', false],
  ])('%s is %s', (rule, expected, more = {}) => {
    expect(matches(rule, request(more))).toBe(expected);
  });

  test('a pattern is not held against more than 8,192 characters, and then nothing is guessed', () => {
    const long = (length: number) => request({ seen: seen({ path: `/${'a'.repeat(length - 1)}` }) });
    expect(matches('PathRegexp(`a$`)', long(8192))).toBe(true);
    for (const rule of ['PathRegexp(`a$`)', '!PathRegexp(`^b`)']) {
      expect(() => matches(rule, long(8193))).toThrow(
        expect.objectContaining({ code: 'requestTooLarge', at: 'client', status: 431 }) as Error,
      );
    }
  });
});

describe('what asks a module', () => {
  const passes = (yes: boolean | Error, asked: unknown[] = []) => ({
    bypass(ask: unknown) {
      asked.push(ask);
      if (yes instanceof Error) throw yes;
      return yes;
    },
    admit(ask: unknown) {
      asked.push(ask);
      if (yes instanceof Error) throw yes;
      return Promise.resolve(yes);
    },
  });
  const world = (policy: ReturnType<typeof passes>): RulePolicies => ({
    bypass: (name) => (name === 'x' ? policy : undefined),
    admission: (name) => (name === 'x' ? policy : undefined),
  });

  test('Bypass is true for what is not bypassed, asked with GOST’s words', async () => {
    const asked: unknown[] = [];
    const session = pretendDecider();
    expect(await matches('Bypass(`x`)', request(), world(passes(false, asked)), session)).toBe(true);
    const more = request({ network: 'udp', seen: undefined });
    expect(await matches('Bypass(`x`)', more, world(passes(true, asked)), session)).toBe(false);
    const same = { user: '', network: 'tcp', host: '', path: '', service: '' };
    expect(asked).toEqual([
      { target: 'example.com:8080', ...same },
      { target: 'target.test:443', ...same },
    ]);
    expect(session.told).toEqual([
      'bypass example.com:8080 yes rule: not bypassed by x',
      'bypass target.test:443 yes rule: bypassed by x',
    ]);
  });

  test('Admission is true for who is admitted, asked with GOST’s words', async () => {
    const asked: unknown[] = [];
    const session = pretendDecider();
    const policies = world(passes(true, asked));
    expect(await matches('Admission(`x`)', request(), policies, session)).toBe(true);
    expect(await matches('!Admission(`x`)', request(), world(passes(false)), session)).toBe(true);
    expect(asked).toEqual([{ client: '192.0.2.1', service: '', network: 'ip' }]);
    expect(session.told).toEqual([
      'admission 192.0.2.1 yes rule: admitted by x',
      'admission 192.0.2.1 yes rule: not admitted by x',
    ]);
    const nowhere = request({ client: { host: '/run/x.sock', port: 0 } });
    expect(matches('Admission(`x`)', nowhere, policies)).toBe(false);
  });

  test('could not ask is neither a match nor none', async () => {
    const gone = world(passes(new Error('gone')));
    for (const rule of [
      'Bypass(`x`)',
      '!Bypass(`x`)',
      'Admission(`x`) || Host(`example.com`)',
      '!Admission(`x`)',
    ])
      await expect(matches(rule, request(), gone)).rejects.toMatchObject({ code: 'couldNotAsk' });
  });

  test('a module is asked once about a request, and not where the answer is known without it', async () => {
    const asked: unknown[] = [];
    const tests = createRuleTests(world(passes(true, asked)));
    const { decider } = pretendDecider();
    const rules = ['Host(`no.test`) && Admission(`x`)', 'Host(`example.com`) || Admission(`x`)'];
    for (const rule of rules) await tests(parseRule(rule))(request(), decider);
    expect(asked).toEqual([]);
    const one = request();
    for (const rule of ['Admission(`x`)', 'Admission(`x`) && Admission(`x`)', '!Admission(`x`)'])
      await tests(parseRule(rule))(one, decider);
    expect(asked).toHaveLength(1);
    await tests(parseRule('Admission(`x`)'))(request(), decider);
    expect(asked).toHaveLength(2);
  });

  test('a name that the file may leave open by `compat` matches nothing, as in GOST', () => {
    expect(matches('Bypass(`y`) || Admission(`y`)')).toBe(false);
  });
});

test('rules are what boolean algebra says of them, whichever of the answers have to be waited for', async () => {
  // Header(`v`, n) is what the bit n of the request says; Admission(n) the same, but asked.
  const { rule } = fc.letrec<{ rule: RuleNode }>((tie) => ({
    rule: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc
        .tuple(fc.boolean(), fc.nat({ max: 3 }))
        .map(([ask, bit]): RuleNode =>
          ask
            ? { kind: 'call', name: 'Admission', args: [String(bit)] }
            : { kind: 'call', name: 'Header', args: ['v', String(bit)] },
        ),
      tie('rule').map((of): RuleNode => ({ kind: 'not', of })),
      fc
        .tuple(
          fc.constantFrom('all' as const, 'any' as const),
          fc.array(tie('rule'), { minLength: 2, maxLength: 4 }),
        )
        .map(([kind, of]): RuleNode => ({ kind, of })),
    ),
  }));
  const reference = (node: RuleNode, bits: number): boolean => {
    if (node.kind === 'call') return ((bits >> Number(node.args.at(-1))) & 1) === 1;
    if (node.kind === 'not') return !reference(node.of, bits);
    const parts = node.of.map((part) => reference(part, bits));
    return node.kind === 'all' ? parts.every(Boolean) : parts.some(Boolean);
  };
  await fc.assert(
    fc.asyncProperty(rule, async (tree) => {
      for (let bits = 0; bits < 16; bits++) {
        const isSet = (bit: number) => ((bits >> bit) & 1) === 1;
        const headers = [0, 1, 2, 3].filter(isSet).map((bit) => ['v', String(bit)] as const);
        const tests = createRuleTests({
          bypass: () => undefined,
          admission: (name) => ({ admit: () => isSet(Number(name)) }),
        });
        const answer = await tests({ text: '', tree })(
          request({ seen: seen({ headers }) }),
          pretendDecider().decider,
        );
        expect(answer).toBe(reference(tree, bits));
      }
    }),
    { numRuns: 200 },
  );
});
