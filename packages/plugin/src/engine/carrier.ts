import type { MethodCodec } from '../codec.ts';
import type { Meta, PluginTransport } from '../contract.ts';
import { PluginError } from '../errors.ts';
import type { GrpcClient, GrpcReply } from '../wire/grpc.ts';
import type { HttpClient, HttpReply } from '../wire/http.ts';
import { readMeta } from '../wire/meta.ts';
import type { PluginEndpoint } from './addresses.ts';

/** What the engine counts of any reply. */
interface Carried {
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/**
 * One method of a contract over one transport, at each of a plugin's endpoints. A question is encoded once, however often
 * it is sent. What `Question` and `Reply` are is the carrier's own affair.
 */
export interface Carrier<Ask, Answer, Question = unknown, Reply extends Carried = Carried> {
  readonly transport: PluginTransport;
  /** Throws PluginError `internal`. */
  encode(ask: Ask): Question;
  /** Rejects with PluginError. */
  send(
    endpoint: number,
    question: Question,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Reply>;
  /** Fills `meta` with what came beside the answer. Throws PluginError `badReply`. */
  decode(reply: Reply, ask: Ask, meta: Meta): Answer;
}

/** Carries a method over gRPC; the token goes as metadata `token`, as GOST sends it. */
export function grpcCarrier<Ask, Answer>(
  { grpc }: MethodCodec<Ask, Answer>,
  clients: readonly GrpcClient[],
  token: string | undefined,
): Carrier<Ask, Answer> {
  const { path } = grpc;
  const metadata = token === undefined || token === '' ? undefined : ['token', checkedToken(token)];
  const carrier: Carrier<Ask, Answer, Uint8Array, GrpcReply> = {
    transport: 'grpc',
    encode: grpc.encodeAsk,
    send: (endpoint, message, timeoutMs, signal) =>
      clients[endpoint]!.call({ path, message, metadata, timeoutMs, signal }),
    decode(reply, ask, meta) {
      const answer = grpc.decodeAnswer(reply.message, ask);
      if (reply.trailers.length > 0) readMeta(reply.trailers, meta);
      return answer;
    },
  };
  return carrier as Carrier<Ask, Answer>;
}

/**
 * Carries a method over HTTP. The token goes as `Authorization: Bearer`, unless the endpoint's URL holds credentials, which
 * win as in Go.
 */
export function httpCarrier<Ask, Answer>(
  { http }: MethodCodec<Ask, Answer>,
  clients: readonly HttpClient[],
  endpoints: readonly PluginEndpoint[],
  token: string | undefined,
): Carrier<Ask, Answer> {
  const { verb } = http;
  const targets = endpoints.map(({ path = '/', authorization }) => {
    const bearer = token === undefined || token === '' ? undefined : `Bearer ${checkedToken(token)}`;
    const credentials = authorization ?? bearer;
    return {
      // GOST says so on every request, also on those without a body.
      headers: [
        'content-type',
        'application/json',
        ...(credentials === undefined ? [] : ['authorization', credentials]),
      ],
      path: verb === 'GET' ? queryMerger(path) : () => path,
    };
  });
  const carrier: Carrier<Ask, Answer, { query: string; body: string | undefined }, HttpReply> = {
    transport: 'http',
    encode: http.encodeAsk,
    send(endpoint, { query, body }, timeoutMs, signal) {
      const { headers, path } = targets[endpoint]!;
      return clients[endpoint]!.request({ verb, path: path(query), headers, body, timeoutMs, signal });
    },
    decode(reply, ask, meta) {
      const answer = http.decodeAnswer(reply.body, ask);
      readMeta(reply.headers, meta);
      return answer;
    },
  };
  return carrier as Carrier<Ask, Answer>;
}

/**
 * Adds a question's query to the configured one. As Go's url.Values does it, keys are sorted, and a key of the question
 * takes the place of a configured one, so that the address cannot answer in the question's stead.
 */
function queryMerger(target: string): (query: string) => string {
  const question = target.indexOf('?');
  const path = question < 0 ? target : target.slice(0, question);
  const fixed =
    question < 0
      ? []
      : target
          .slice(question + 1)
          .split('&')
          .filter((part) => part !== '');
  const keyOf = (part: string): string => part.split('=', 1)[0]!;
  return (query) => {
    if (fixed.length === 0) return query === '' ? path : `${path}?${query}`;
    const asked = query === '' ? [] : query.split('&');
    const taken = new Set(asked.map(keyOf));
    const all = [...fixed.filter((part) => !taken.has(keyOf(part))), ...asked];
    all.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : keyOf(a) > keyOf(b) ? 1 : 0));
    return `${path}?${all.join('&')}`;
  };
}

/** A token goes into a header as it is; what no header can hold could otherwise add headers of its own. */
function checkedToken(token: string): string {
  if (/^[!-~](?:[ -~]*[!-~])?$/.test(token)) return token;
  throw new PluginError(
    'unauthenticated',
    'the token cannot be sent: it may hold visible ASCII characters only',
    { unsent: true },
  );
}
