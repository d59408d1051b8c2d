import {
  bodyFraming,
  formatHead,
  headerTokens,
  headerValue,
  Http1Error,
  keepsAlive,
} from '@sallyport/plugin/wire';
import type { BodyFraming, Http1RequestHead, Http1ResponseHead } from '@sallyport/plugin/wire';
import { formatAddress } from '../../core/address.ts';
import type { Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { Session } from '../../core/session.ts';
import { encodeEnd, encodeParts } from './body.ts';
import { forwardable, wantedUpgrade } from './fields.ts';
import type { MessageReader, NoHead } from './message-reader.ts';
import { clientGone } from './origin.ts';
import type { Origin, Origins } from './origin.ts';
import type { RequestTarget } from './target.ts';

/**
 * How long an origin may take to begin its answer once it has the request: twice what a patient user waits. GOST has 15 s,
 * which cuts long polls.
 */
const answerMs = 120_000;

/** How long the head of an answer may take from its first byte. */
const answerHeadMs = 30_000;

/** Interim answers (1xx) to one request. Real ones come once or twice; an endless row of them is no answer. */
const maxInterim = 32;

/** Methods that may be sent once more when a kept connection was closed before any byte of the answer (RFC 9110, 9.2.2). */
const repeatable = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** One request that goes on to its origin. */
export interface Exchange {
  readonly client: Conn;
  readonly session: Session;
  readonly origins: Origins;
  readonly requests: MessageReader<'request'>;
  readonly head: Http1RequestHead;
  readonly framing: BodyFraming;
  readonly target: RequestTarget;
  /** What the client has got so far. It decides how an error can still be told. */
  readonly progress: Progress;
}

/** How far the answer has come. */
export interface Progress {
  /** The final status, once its head was sent. */
  status?: number;
  /** True while an answer is under way whose end only the connection's end tells. */
  untilClose?: boolean;
  /** Settles, never rejecting, when nothing reads the request's body any more. */
  sending?: Promise<void>;
}

/**
 * Forwards a request and its answer, both bodies at the same time. Resolves with whether the client's connection may carry
 * another request. Rejects with ProxyError; `progress` then says whether the client can still be told.
 */
export async function forward(exchange: Exchange): Promise<boolean> {
  const { origins, head, framing, target, session } = exchange;
  const upgrade = head.version === '1.1' && isEmpty(framing) ? wantedUpgrade(head.headers) : undefined;
  const requestHead = formatRequest(exchange, upgrade);
  for (;;) {
    const origin = await origins.get(target.address);
    const sending = new Sending();
    try {
      await origin.conn.write(requestHead).catch(sending.refused);
      exchange.progress.sending = sendBody(exchange, origin, sending);
      const answer = await readAnswer(exchange, origin, sending, upgrade !== undefined);
      if (answer === 'ended') {
        if (origin.reused && isEmpty(framing) && repeatable.has(head.method)) {
          continue;
        }
        throw closedWithoutAnswer(target);
      }
      if (answer.status === 101) return await switchProtocols(exchange, origin, answer);
      const keep = await sendAnswer(exchange, origin, answer, sending);
      if (sending.error !== undefined) throw sending.error;
      return keep && !session.stopping;
    } catch (error) {
      if (origins.closed) throw clientGone();
      throw sending.error ?? error;
    } finally {
      // Whatever was not kept is of no use to anybody.
      origins.abandon();
    }
  }
}

/** How the request's body fares. */
class Sending {
  /** What went wrong on the client's side. */
  error: ProxyError | undefined;
  done = false;
  /** True once nobody wants the body any more. */
  over = false;
  /** The origin does not read on. Whether that is bad is said by its answer, or by there being none. */
  readonly refused = (): void => {
    this.over = true;
  };
}

async function sendBody({ requests, framing, head, session }: Exchange, { conn }: Origin, sending: Sending) {
  const chunked = framing.kind === 'chunked';
  try {
    for (;;) {
      const parts = await requests.bodyParts();
      if (sending.over) return;
      if (parts === null) break;
      for (const part of parts) session.traffic.received += part.length;
      await conn.write(encodeParts(parts, chunked)).catch(sending.refused);
    }
    if (chunked) {
      const trailers = encodeEnd(forwardable(requests.trailers, head.headers));
      await conn.write(trailers).catch(sending.refused);
    }
    sending.done = true;
  } catch (error) {
    // A body that breaks off must not look whole to the origin.
    sending.error = ProxyError.from(error);
    if (!sending.over) conn.reset();
  }
}

/** Reads up to the final answer's head, passing interim ones on. `ended`: the origin closed before any byte of it. */
async function readAnswer(
  { client, head: request, target, requests }: Exchange,
  { answers }: Origin,
  sending: Sending,
  mayUpgrade: boolean,
): Promise<Http1ResponseHead | 'ended'> {
  for (let interim = 0; interim <= maxInterim; interim++) {
    const head = await nextHead(answers, sending, requests);
    if (head === 'ended') return head;
    if (head === 'idle' || head === 'interrupted') {
      throw new ProxyError(
        'upstreamTimeout',
        'upstream',
        `${formatAddress(target.address)} did not answer in time`,
        {
          status: 504,
        },
      );
    }
    if (head.status === 101 && !mayUpgrade)
      throw bad(target, 'it changes to a protocol that nobody asked for');
    if (head.status === 101 || head.status >= 200) {
      if (head.status === 407) throw bad(target, 'it asks for the credentials of a proxy');
      return head;
    }
    answers.beginBody({ kind: 'none' });
    // Nobody who speaks HTTP/1.0 knows of interim answers (RFC 9110, section 15.2).
    if (request.version === '1.0') continue;
    await client.write(encodeHead(head, forwardable(head.headers)));
  }
  throw bad(target, 'it sends interim answers without an end');
}

/** As {@link MessageReader.head}; the wait begins when the request is sent. */
async function nextHead(
  answers: MessageReader<'response'>,
  sending: Sending,
  requests: MessageReader<'request'>,
): Promise<Http1ResponseHead | NoHead> {
  for (;;) {
    const sent = requests.bodyDone;
    try {
      const head = await answers.head({ idleMs: answerMs, headMs: answerHeadMs });
      if (head !== 'idle' || sent) return head;
    } catch (error) {
      if (sending.error !== undefined) throw sending.error;
      const broke = ProxyError.from(error);
      // A reset instead of a close is no more of an answer.
      if (broke.code === 'upstreamClosed') return 'ended';
      throw broke;
    }
  }
}

async function sendAnswer(
  exchange: Exchange,
  { answers }: Origin,
  answer: Http1ResponseHead,
  sending: Sending,
): Promise<boolean> {
  const { client, head: request, origins, progress, requests, session, target } = exchange;
  let framing: BodyFraming;
  try {
    framing = bodyFraming(answer, request.method);
  } catch (error) {
    if (error instanceof Http1Error) throw bad(target, error.message, error);
    throw error;
  }
  answers.beginBody(framing);
  const endless = framing.kind === 'chunked' || framing.kind === 'untilClose';
  const chunked = endless && request.version === '1.1';
  const untilClose = endless && !chunked;
  // A client that is told no will hardly send the rest of its body, and what it does send must not be taken for a request.
  const refused = answer.status >= 300 && !requests.bodyDone;
  const keep = keepsAlive(request) && !session.stopping && !untilClose && !refused;
  const fields = forwardable(answer.headers);
  const length = framing.kind === 'length' ? String(framing.length) : lengthWithoutBody(answer, request);
  if (length !== undefined) fields.push('Content-Length', length);
  if (chunked) fields.push('Transfer-Encoding', 'chunked');
  if (!keep) fields.push('Connection', 'close');
  else if (request.version === '1.0') fields.push('Connection', 'keep-alive');
  const head = encodeHead(answer, fields);
  // What has come together goes on together; and while nothing has gone on, what is wrong can still be told.
  const early = answers.rest.length > 0 ? ((await answers.bodyParts()) ?? []) : [];
  progress.status = answer.status;
  progress.untilClose = untilClose;
  await client.write(Buffer.concat([head, encodeParts(early, chunked)]));
  for (const part of early) session.traffic.sent += part.length;
  for (let parts = await answers.bodyParts(); parts !== null; parts = await answers.bodyParts()) {
    for (const part of parts) session.traffic.sent += part.length;
    await client.write(encodeParts(parts, chunked));
  }
  if (chunked) await client.write(encodeEnd(forwardable(answers.trailers, answer.headers)));
  const whole = sending.done;
  sending.over = true;
  const clean = framing.kind !== 'untilClose' && answers.rest.length === 0;
  if (whole && clean && keepsAlive(answer)) origins.keep();
  return keep && whole;
}

/** `Content-Length` says what a GET would have brought where there is no body (RFC 9110, section 8.6). */
function lengthWithoutBody(answer: Http1ResponseHead, { method }: Http1RequestHead): string | undefined {
  if (method !== 'HEAD' && answer.status !== 304) return undefined;
  const length = headerValue(answer.headers, 'content-length');
  return length !== undefined && /^\d+$/.test(length) ? length : undefined;
}

async function switchProtocols(
  { client, origins, progress, requests, session }: Exchange,
  { conn, answers }: Origin,
  answer: Http1ResponseHead,
): Promise<false> {
  const upgrade = headerTokens(answer.headers, 'upgrade').join(', ');
  progress.status = 101;
  progress.untilClose = true;
  await client.write(
    encodeHead(answer, [...forwardable(answer.headers), 'Connection', 'Upgrade', 'Upgrade', upgrade]),
  );
  answers.release();
  requests.release();
  origins.release();
  const broke = await session.relay(client, conn);
  if (broke !== undefined) throw broke;
  return false;
}

function formatRequest({ head, framing, target }: Exchange, upgrade: string | undefined): Buffer {
  const fields = ['Host', target.host, ...forwardable(head.headers)];
  // RFC 9110, section 10.1.1: from a client of HTTP/1.0 it means nothing, and to the origin we speak 1.1.
  if (head.version === '1.0') dropField(fields, 'expect');
  if (framing.kind === 'length') fields.push('Content-Length', String(framing.length));
  if (framing.kind === 'chunked') fields.push('Transfer-Encoding', 'chunked');
  const connection: string[] = [];
  if (headerTokens(head.headers, 'te').includes('trailers')) {
    fields.push('TE', 'trailers');
    connection.push('TE');
  }
  if (upgrade !== undefined) {
    fields.push('Upgrade', upgrade);
    connection.push('Upgrade');
  }
  if (connection.length > 0) fields.push('Connection', connection.join(', '));
  return encode(formatHead(`${head.method} ${target.path} HTTP/1.1`, fields));
}

function dropField(fields: string[], name: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) {
    if (fields[i]!.toLowerCase() === name) fields.splice(i, 2);
  }
}

function encodeHead({ status, reason }: Http1ResponseHead, fields: readonly string[]): Buffer {
  return encode(formatHead(`HTTP/1.1 ${String(status)} ${reason}`, fields));
}

function encode(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function isEmpty(framing: BodyFraming): boolean {
  return framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0);
}

function closedWithoutAnswer({ address }: RequestTarget): ProxyError {
  return new ProxyError(
    'upstreamClosed',
    'upstream',
    `${formatAddress(address)} closed the connection without an answer`,
    { status: 502 },
  );
}

function bad({ address }: RequestTarget, why: string, cause?: Error): ProxyError {
  return new ProxyError(
    'badUpstreamReply',
    'upstream',
    `${formatAddress(address)} gave no valid answer: ${why}`,
    {
      status: 502,
      cause,
    },
  );
}
