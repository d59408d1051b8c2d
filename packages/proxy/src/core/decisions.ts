import { performance } from 'node:perf_hooks';
import type { CallEvent, ModuleKind } from '@sallyport/plugin';
import { ProxyError } from './errors.ts';
import type { Decided } from './events.ts';
import type { Decider, Question } from './route.ts';

/** Decisions that a session remembers for its closing line. A connection that lives for days asks again and again. */
const maxRemembered = 100;

/** For what is asked beside any question. */
const never = new AbortController().signal;

/** What HTTP says where a module could not be asked; other protocols take it as a hint. */
const statuses: Partial<Readonly<Record<ModuleKind, number>>> = {
  auth: 407,
  admission: 403,
  bypass: 403,
  hosts: 503,
  resolver: 503,
  hop: 503,
  limiter: 503,
};

/** What the questions of a session have in common. */
export interface DecisionSettings {
  readonly session: string;
  readonly publish: (decided: Decided) => void;
}

/**
 * Asks modules in the name of one session. While at least one question is open there is a signal, which fires when the
 * client goes; a session that asks nobody costs none.
 */
export class Decisions implements Decider {
  readonly made: Decided[] = [];
  readonly #settings: DecisionSettings;
  #open: AbortController | undefined;
  #waiting = 0;
  #gone = false;

  constructor(settings: DecisionSettings) {
    this.#settings = settings;
  }

  /** The client has gone: everything that is asked for it is canceled, and nothing more is asked. */
  leave(): void {
    this.#gone = true;
    this.#open?.abort();
  }

  /** Fires when the client goes; of a moment in which nothing is asked, one that has no part in it. */
  get signal(): AbortSignal {
    return this.#open?.signal ?? never;
  }

  /** Runs something whose signal fires when the client goes. Rejects with `clientClosed` where it has gone already. */
  async during<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#gone) throw clientLeft();
    this.#open ??= new AbortController();
    this.#waiting++;
    try {
      return await run(this.#open.signal);
    } finally {
      if (--this.#waiting === 0) this.#open = undefined;
    }
  }

  decide<A>(question: Question<A>): Promise<A> {
    return this.during(async (signal) => {
      const calls: CallEvent[] = [];
      const started = performance.now();
      const decided = (outcome: Decided['outcome'], answer: string, error?: ProxyError) => {
        const { module, about } = question;
        const ms = performance.now() - started;
        const event: Decided = { kind: 'decided', module, outcome, about, answer, calls, ms, error };
        if (this.made.length >= maxRemembered) this.made.shift();
        this.made.push(event);
        this.#settings.publish(event);
      };
      const observe = (event: CallEvent) => {
        calls.push(event);
      };
      let answer: A;
      try {
        answer = await question.ask({
          signal: question.signal ?? signal,
          session: this.#settings.session,
          meta: {},
          observe,
        });
      } catch (cause) {
        if (signal.aborted) throw clientLeft();
        const error = couldNotAsk(question, cause);
        decided('couldNotAsk', '', error);
        throw error;
      }
      const told = question.tell(answer);
      // A group that refuses because a member could not be asked has not said no.
      const failed =
        calls.at(-1)?.outcome === 'ok' ? undefined : calls.findLast(({ outcome }) => outcome !== 'ok');
      if (told.outcome === 'no' && failed !== undefined) {
        const error = couldNotAsk(question, undefined, failed.error ?? failed.outcome);
        decided('couldNotAsk', '', error);
        throw error;
      }
      decided(told.outcome, told.answer);
      return answer;
    });
  }
}

/** Whatever a policy throws, it could not be asked; a built-in that throws has a fault, and could not either. */
function couldNotAsk({ module, status }: Question<unknown>, cause: unknown, message?: string): ProxyError {
  const isWhole = cause instanceof ProxyError && (cause.code !== 'couldNotAsk' || cause.status !== undefined);
  if (isWhole) return cause;
  const said = message ?? (cause instanceof Error ? cause.message : String(cause));
  return new ProxyError('couldNotAsk', 'plugin', said, { cause, status: status ?? statuses[module] });
}

/** The error of a session whose client has gone before it was answered. */
function clientLeft(): ProxyError {
  return new ProxyError('clientClosed', 'client', 'the client went away before it was answered');
}
