import type { PolicyOf } from '../policies.ts';
import type { Decider, RouteRequest } from '../route.ts';
import { functions } from './functions.ts';
import type { Reading } from './functions.ts';
import type { Rule, RuleNode } from './parse.ts';

/** The modules that rules ask, by their names in the file. Undefined: there is none. */
export interface RulePolicies {
  bypass(name: string): PolicyOf<'bypass'> | undefined;
  admission(name: string): PolicyOf<'admission'> | undefined;
}

/**
 * Whether a rule is for a request. A promise only where a module is asked. Throws or rejects with ProxyError: `couldNotAsk`
 * where a module gave no answer, which is neither a match nor none, `clientClosed`, and `requestTooLarge` where a pattern
 * would have to be held against more than 8,192 characters.
 */
export type RuleTest = (request: RouteRequest, decider: Decider) => boolean | Promise<boolean>;

/**
 * Makes tests of rules. Those of one maker ask a module once about a request, however many rules name it. A rule goes from
 * left to right and ends where its answer is known, so that a module behind `Host(…) &&` is asked about that host alone.
 */
export function createRuleTests(policies: RulePolicies): (rule: Rule) => RuleTest {
  const answers = new WeakMap<RouteRequest, Map<string, Promise<boolean>>>();
  const once = (request: RouteRequest, key: string, ask: () => Promise<boolean>): Promise<boolean> => {
    const known = answers.get(request) ?? new Map<string, Promise<boolean>>();
    answers.set(request, known);
    const answer = known.get(key) ?? ask();
    known.set(key, answer);
    return answer;
  };
  const question = (reading: Reading): RuleTest => {
    if (reading.kind === 'test') return reading.test;
    const { name } = reading;
    if (reading.kind === 'bypass') {
      const policy = policies.bypass(name);
      // As in GOST; a file that names nobody is refused at load unless `compat` says otherwise.
      if (policy === undefined) return () => false;
      return (request, decider) => {
        const about = reading.about(request);
        return once(request, `bypass ${name}`, () => asksBypass(policy, name, about, decider));
      };
    }
    const policy = policies.admission(name);
    if (policy === undefined) return () => false;
    return (request, decider) => {
      const client = reading.about(request);
      // Who connects over a unix socket has no address, and is not let in for one.
      if (client === undefined) return false;
      return once(request, `admission ${name}`, () => asksAdmission(policy, name, client, decider));
    };
  };
  const compile = (node: RuleNode): RuleTest => {
    if (node.kind === 'call') return question(functions[node.name].read(node.args));
    if (node.kind === 'not') {
      const inner = compile(node.of);
      return (request, decider) => {
        const found = inner(request, decider);
        return typeof found === 'boolean' ? !found : found.then((yes) => !yes);
      };
    }
    return inTurn(node.of.map(compile), node.kind === 'any');
  };
  return (rule) => compile(rule.tree);
}

/** True for a target that is not bypassed, asked as GOST does: always `tcp`, in nobody's name. */
function asksBypass(
  policy: PolicyOf<'bypass'>,
  name: string,
  about: string,
  decider: Decider,
): Promise<boolean> {
  const ask = { target: about, user: '', network: 'tcp', host: '', path: '', service: '' };
  return decider.decide({
    module: 'bypass',
    about,
    status: 503,
    ask: async (call) => !(await policy.bypass(ask, call)),
    // Going past a node is a way like another.
    tell: (matches) => ({
      outcome: 'yes',
      answer: `rule: ${matches ? 'not bypassed' : 'bypassed'} by ${name}`,
    }),
  });
}

/** True for a client that is admitted, asked as GOST does: the bare address, network `ip`, no service. */
function asksAdmission(
  policy: PolicyOf<'admission'>,
  name: string,
  client: string,
  decider: Decider,
): Promise<boolean> {
  return decider.decide({
    module: 'admission',
    about: client,
    status: 503,
    ask: (call) => policy.admit({ client, service: '', network: 'ip' }, call),
    // A no here is not one to the client, only to a node.
    tell: (matches) => ({
      outcome: 'yes',
      answer: `rule: ${matches ? 'admitted' : 'not admitted'} by ${name}`,
    }),
  });
}

/** One after the other until one says `end`. */
function inTurn(tests: readonly RuleTest[], end: boolean): RuleTest {
  const from = (start: number, request: RouteRequest, decider: Decider): boolean | Promise<boolean> => {
    for (let index = start; index < tests.length; index++) {
      const found = tests[index]!(request, decider);
      if (typeof found !== 'boolean')
        return found.then((yes) => (yes === end ? end : from(index + 1, request, decider)));
      if (found === end) return end;
    }
    return !end;
  };
  return (request, decider) => from(0, request, decider);
}
