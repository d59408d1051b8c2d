import type { Call, LimiterAsk, Rate } from '@sallyport/plugin';
import { formatAddress } from './address.ts';
import type { Address } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { PolicyOf } from './policies.ts';

/** Who is asked for limits. */
export interface TrafficLimiters {
  readonly service: string;
  /** The service's `limiter`: asked for scope `service` and for scope `conn`. */
  readonly serviceLimiter?: PolicyOf<'limiter'>;
  /** The handler's `limiter`: asked for scope `client`. */
  readonly handlerLimiter?: PolicyOf<'limiter'>;
  /** The only scope that the service's limiter is asked for. Default: both. */
  readonly scope?: 'service' | 'conn';
}

/** What a limiter is told of a connection. */
export interface LimitedConnection {
  readonly client: Address;
  /** `tcp` or `udp`. */
  readonly network: string;
  /** Empty where nobody is known. */
  readonly user: string;
  /** The user is who the client reaches: of what the handler's limiter says, `in` is what goes to the client. Default false. */
  readonly isFarEnd?: boolean;
  readonly target: Address | undefined;
}

/** One thing to ask a limiter. */
export interface LimiterQuestion {
  /** The name of the limiter, the scope, and who it is about. */
  readonly key: string;
  readonly limiter: 'service' | 'handler';
  readonly policy: PolicyOf<'limiter'>;
  readonly ask: LimiterAsk;
}

/** What has to be asked about a connection: for each scope somebody who knows, in GOST's words. */
export function questionsAbout(
  connection: LimitedConnection,
  { service, serviceLimiter, handlerLimiter, scope }: TrafficLimiters,
): LimiterQuestion[] {
  const { network, user, target } = connection;
  const client = formatAddress(connection.client);
  const questions: LimiterQuestion[] = [];
  const about = { service, network, target: '', user: '', client: '' };
  if (serviceLimiter !== undefined) {
    const policy = serviceLimiter;
    if (scope !== 'conn') {
      const ask = { ...about, scope: 'service' };
      questions.push({ key: `service $ ${network}`, limiter: 'service', policy, ask });
    }
    if (scope !== 'service') {
      const ask = { ...about, scope: 'conn', client };
      questions.push({ key: `conn ${network} ${client}`, limiter: 'service', policy, ask });
    }
  }
  if (handlerLimiter !== undefined) {
    const ask = { ...about, scope: 'client', target: target ? formatAddress(target) : '', user, client };
    const key = user === '' ? `host ${network} ${connection.client.host}` : `user ${network} ${user}`;
    questions.push({ key, limiter: 'handler', policy: handlerLimiter, ask });
  }
  return questions;
}

/** Whether two answers mean the same. */
export function isSameAnswer(a: readonly Rate[], b: readonly Rate[]): boolean {
  return (
    a.length === b.length &&
    a.every((rate, i) => {
      const other = b[i]!;
      return (
        rate.share === other.share &&
        rate.in === other.in &&
        rate.out === other.out &&
        rate.burst === other.burst
      );
    })
  );
}

/** Asks. Rejects with ProxyError `couldNotAsk`, whatever the limiter throws. */
export async function answerOf({ policy, ask }: LimiterQuestion, call: Call): Promise<readonly Rate[]> {
  try {
    return await policy.limit(ask, call);
  } catch (error) {
    const { message } = ProxyError.from(error);
    throw new ProxyError('couldNotAsk', 'plugin', message, { cause: error });
  }
}

/** Waits for the question, but no longer than the client is there: then it rejects with ProxyError `clientClosed`. */
export async function unlessLeft(asking: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  const left = () => new ProxyError('clientClosed', 'client', 'the client went away before it was answered');
  if (signal === undefined) return asking;
  if (signal.aborted) throw left();
  let leave!: () => void;
  const gone = new Promise<never>((_, reject) => {
    leave = () => {
      reject(left());
    };
  });
  signal.addEventListener('abort', leave);
  try {
    await Promise.race([asking, gone]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
