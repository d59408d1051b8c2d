import type { AnyMethod, Call, Contract, Member, Methods, OnError, Policy } from '../contract.ts';
import { PluginError } from '../errors.ts';
import { isObserved, publish } from './events.ts';
import { createLastGood } from './last-good.ts';
import type { LastGood } from './last-good.ts';

/**
 * Makes one decision of several members, as the contract's `combine` says, and the only place where `onError` is applied.
 *
 * Members are asked one after the other, until one decides; with `each` all are told at once. A member that could not be
 * asked counts as its own `onError`, where it has one: `allow` and `{ reply }` as that answer, `lastGood` as its last answer
 * to the same question, `refuse` as a no. Otherwise the others may decide. Where they do not, the group ends in the
 * contract's default.
 *
 * A refusal by `onError` rejects with the PluginError of the member that could not be asked, so that whoever refuses can say
 * why; with `queue` it is the caller who tries again. `canceled` always rejects. For each answer that `onError` gave, an
 * event with source `fallback` is published. Of a module that is asked some things and told others, it is what is asked that
 * a member's `onError` speaks of.
 *
 * Throws PluginError `internal` when there is no member, or more than one where only one can be.
 */
export function combine<M extends Methods>(contract: Contract<M>, members: readonly Member<M>[]): Policy<M> {
  if (members.length === 0) throw new PluginError('internal', `there is no ${contract.kind} to ask`);
  if (members.length > 1 && contract.combine === 'one') {
    const names = members.map(({ name }) => name).join(', ');
    throw new PluginError('internal', `one ${contract.kind} can be asked, not several (${names})`);
  }
  const policy: Record<string, unknown> = {};
  for (const [name, method] of Object.entries<AnyMethod>(contract.methods)) {
    const seats = members.map((member) => seatOf(contract, name, method, member));
    policy[name] = decisionOf(contract, method, seats);
  }
  return policy as Policy<M>;
}

type Decision = (ask: unknown, call: Call) => Promise<unknown>;

/** What one member said: an answer, its own or by `onError`; a refusal by `onError`; or nothing. */
type Voice =
  | { readonly kind: 'answer'; readonly answer: unknown }
  | { readonly kind: 'refused' | 'silent'; readonly error: PluginError };

/** One member's one method. */
interface Seat {
  readonly whitelist: boolean;
  hear(ask: unknown, call: Call): Promise<Voice>;
  /** The group's default for this member's silence: an answer, or undefined for a refusal. */
  fallBack(ask: unknown, call: Call, error: PluginError): { readonly answer: unknown } | undefined;
}

function seatOf<M extends Methods>(
  contract: Contract<M>,
  name: string,
  method: AnyMethod,
  member: Member<M>,
): Seat {
  const policy = member.policy as Record<string, (ask: unknown, call: Call) => unknown>;
  // What is told in the background is told later, whatever counts as the answer of who could not be asked.
  const onError = method.onError === 'queue' && hasQuestions(contract) ? undefined : member.onError;
  const lastGood = (onError ?? method.onError) === 'lastGood' ? createLastGood<unknown>(method) : undefined;

  const tellFallback = (rule: OnError<unknown>, call: Call, error: PluginError): void => {
    if (!isObserved(call)) return;
    publish(
      {
        module: contract.kind,
        method: name,
        name: member.name,
        endpoint: error.endpoint ?? '',
        transport: 'local',
        session: call.session,
        outcome: error.code,
        source: 'fallback',
        ms: 0,
        bytesSent: 0,
        bytesReceived: 0,
        reason: `onError: ${typeof rule === 'string' ? rule : 'reply'}`,
        error: error.message,
      },
      call,
    );
  };
  const answerOf = (
    rule: OnError<unknown>,
    ask: unknown,
    call: Call,
    error: PluginError,
  ): { readonly answer: unknown } | undefined => {
    const found = fallbackAnswer(rule, method, lastGood, ask);
    if (found !== undefined) tellFallback(rule, call, error);
    return found;
  };

  return {
    whitelist: member.whitelist ?? false,
    async hear(ask, call) {
      let answer: unknown;
      try {
        // Called on the policy, so that one that is a class finds itself.
        answer = await policy[name]!(ask, call);
      } catch (thrown) {
        const error = asPluginError(thrown, member.name);
        if (error.code === 'canceled') throw error;
        if (onError === undefined) return { kind: 'silent', error };
        const counted = answerOf(onError, ask, call, error);
        if (counted !== undefined) return { kind: 'answer', answer: counted.answer };
        return { kind: onError === 'refuse' ? 'refused' : 'silent', error };
      }
      lastGood?.remember(ask, answer);
      return { kind: 'answer', answer };
    },
    fallBack: (ask, call, error) => {
      const found = answerOf(method.onError, ask, call, error);
      // Only a method whose default it is goes on with nothing known, as the limiter does.
      if (found !== undefined || method.onError !== 'lastGood') return found;
      return answerOf('allow', ask, call, error);
    },
  };
}

/** Whether somebody waits for any of a module's answers. */
function hasQuestions({ methods }: Contract): boolean {
  return Object.values<AnyMethod>(methods).some(({ onError }) => onError !== 'queue');
}

/** The answer that a rule stands for; undefined where it stands for none. */
function fallbackAnswer(
  rule: OnError<unknown>,
  method: AnyMethod,
  lastGood: LastGood<unknown> | undefined,
  ask: unknown,
): { readonly answer: unknown } | undefined {
  if (typeof rule === 'object') return { answer: rule.reply };
  if (rule === 'lastGood') return lastGood?.recall(ask);
  if (rule === 'allow' || rule === 'none') return method.allow && { answer: method.allow.reply };
  return undefined;
}

function decisionOf(contract: Contract, method: AnyMethod, seats: readonly Seat[]): Decision {
  if (contract.combine === 'each') return (ask, call) => tellEach(seats, ask, call);
  if (contract.combine === 'bypass' && seats.some(({ whitelist }) => whitelist))
    return (ask, call) => passBy(seats, ask, call);

  const negative = method.negative as ((answer: unknown) => boolean) | undefined;
  const { combine: rule } = contract;
  // `bypass` with blacklists alone: the first yes decides that the target is passed by, and yes is what `negative` names.
  const decides = (answer: unknown): boolean => {
    if (rule === 'one') return true;
    const no = negative?.(answer) ?? false;
    return rule === 'all' || rule === 'bypass' ? no : !no;
  };
  return async (ask, call) => {
    let last: { readonly answer: unknown } | undefined;
    let refused: PluginError | undefined;
    let silent: { readonly seat: Seat; readonly error: PluginError } | undefined;
    for (const seat of seats) {
      const voice = await seat.hear(ask, call);
      if (voice.kind === 'answer') {
        if (decides(voice.answer)) return voice.answer;
        last = voice;
      } else if (voice.kind === 'silent') {
        silent ??= { seat, error: voice.error };
      } else {
        // A refusal is a no, which decides wherever a no does; where a yes is looked for, another may still say it.
        if (rule !== 'any') throw voice.error;
        refused ??= voice.error;
      }
    }
    if (silent !== undefined) return settle(silent.seat, silent.error, ask, call);
    // Somebody's own no says more than a no that stands for silence.
    if (last !== undefined) return last.answer;
    throw refused!;
  };
}

function settle(seat: Seat, error: PluginError, ask: unknown, call: Call): unknown {
  const found = seat.fallBack(ask, call, error);
  if (found === undefined) throw error;
  return found.answer;
}

/** As GOST: passed by when every whitelist says so (none lists the target), or else when any blacklist does. */
async function passBy(seats: readonly Seat[], ask: unknown, call: Call): Promise<unknown> {
  let silent: { readonly seat: Seat; readonly error: PluginError } | undefined;
  let missing = true;
  for (const seat of seats.filter(({ whitelist }) => whitelist)) {
    const voice = await seat.hear(ask, call);
    if (voice.kind !== 'answer') silent ??= { seat, error: voice.error };
    else if (voice.answer === false) {
      missing = false;
      // It is listed here, so that what another whitelist would have said changes nothing.
      silent = undefined;
      break;
    }
  }
  if (missing && silent === undefined) return true;
  for (const seat of seats.filter(({ whitelist }) => !whitelist)) {
    const voice = await seat.hear(ask, call);
    if (voice.kind !== 'answer') silent ??= { seat, error: voice.error };
    else if (voice.answer === true) return true;
  }
  return silent === undefined ? false : settle(silent.seat, silent.error, ask, call);
}

/** All are told, whatever becomes of the others; the answer is a yes when all of them said yes. */
async function tellEach(seats: readonly Seat[], ask: unknown, call: Call): Promise<unknown> {
  const voices = await Promise.all(seats.map((seat) => seat.hear(ask, call)));
  let answer: unknown = true;
  for (const [i, voice] of voices.entries()) {
    const said = voice.kind === 'answer' ? voice.answer : settle(seats[i]!, voice.error, ask, call);
    if (answer === true) answer = said;
  }
  return answer;
}

/** A built-in that throws anything else has a fault, and could not be asked either. */
function asPluginError(thrown: unknown, member: string): PluginError {
  if (thrown instanceof PluginError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new PluginError('internal', `${member}: ${message}`, { cause: thrown });
}
