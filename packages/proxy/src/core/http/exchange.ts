import { headerTokens } from '@sallyport/plugin/wire';
import type { BodyFraming, Http1ResponseHead } from '@sallyport/plugin/wire';
import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import type { Session } from '../session.ts';
import { badAnswer, encodeAnswerHead, passAnswer } from './answer.ts';
import { encodeEnd, encodeParts, holdBody } from './body.ts';
import { forwardable, wantedUpgrade } from './fields.ts';
import type { MessageReader, NoHead } from './message-reader.ts';
import { clientGone } from './origins.ts';
import type { Origin, Origins } from './origins.ts';
import type { Outgoing } from './outgoing.ts';
import { encodeRequest } from './outgoing.ts';
import { isEmpty } from './request.ts';
import type { HttpRequest } from './request.ts';
import { Sending } from './sending.ts';

/**
 * How long an origin may take to begin its answer once it has the request: twice what a patient user waits. GOST has 15 s,
 * which cuts long polls.
 */
const defaultAnswerMs = 120_000;

/** How long the head of an answer may take from its first byte. */
const answerHeadMs = 30_000;

/** Interim answers (1xx) to one request. Real ones come once or twice; an endless row of them is no answer. */
const maxInterim = 32;

/** Methods that may be sent once more when a kept connection was closed before any byte of the answer (RFC 9110, 9.2.2). */
const repeatable = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

const goOn = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');

/** One request that goes on to its origin. */
export interface Exchange {
  readonly client: Conn;
  readonly session: Session;
  readonly origins: Origins;
  readonly request: HttpRequest;
  /** Whom it goes to, for people. */
  readonly where: string;
  /** The connection that it goes over. Rejects with ProxyError. */
  reach(): Promise<Origin>;
  /** What is sent there. Throws ProxyError where it must not be sent. */
  outgoing(origin: Origin): Outgoing;
  /** How long the origin may take to begin its answer, in milliseconds. Default 120 s. */
  readonly answerMs?: number | undefined;
  /** False: both connections end after this request. Default true. */
  readonly keepsAlive?: boolean | undefined;
  /**
   * True: there may be another origin where this one closed a new connection before any byte of the answer; it is reached again,
   * once, and sent a request that may be repeated. Default false: only after a connection that was kept.
   */
  readonly mayGoElsewhere?: boolean | undefined;
  /** How long a protocol that was switched to may be silent. Default: as the service says. */
  readonly idleMs?: number | undefined;
}

/**
 * Forwards a request and its answer, both bodies at the same time. Resolves with whether the client's connection may carry
 * another request. Rejects with ProxyError; `progress` then says whether the client can still be told.
 */
export async function exchange(exchanged: Exchange): Promise<boolean> {
  const { origins, request, where } = exchanged;
  const { head, framing, progress } = request;
  const upgrade = head.version === '1.1' && isEmpty(framing) ? wantedUpgrade(head.headers) : undefined;
  const mayRepeat = isEmpty(framing) && repeatable.has(head.method);
  let mayGoElsewhere = exchanged.mayGoElsewhere === true;
  for (;;) {
    const origin = await exchanged.reach();
    const sending = new Sending();
    try {
      const outgoing = exchanged.outgoing(origin);
      const body = await rewrittenBody(exchanged, outgoing);
      const toSend =
        body?.whole === true ? ({ kind: 'length', length: lengthOf(body.parts) } as const) : framing;
      await origin.conn
        .write(encodeRequest(request, outgoing, { framing: toSend, upgrade, isHeld: body !== undefined }))
        .catch(sending.refused);
      progress.sending = sendBody(exchanged, origin, sending, body?.parts ?? [], toSend);
      const answer = await readAnswer(exchanged, origin, sending, outgoing, upgrade !== undefined);
      if (answer === 'ended') {
        if (origin.reused && mayRepeat) continue;
        if (mayGoElsewhere && mayRepeat) {
          mayGoElsewhere = false;
          continue;
        }
        throw new ProxyError(
          'upstreamClosed',
          'upstream',
          `${where} closed the connection without an answer`,
          {
            status: 502,
          },
        );
      }
      const isTunnel = head.method === 'CONNECT' && answer.status >= 200 && answer.status < 300;
      if (answer.status === 101 || isTunnel) return await switchProtocols(exchanged, origin, answer);
      const keep = await passAnswer(exchanged, origin, answer, outgoing, sending);
      if (sending.error !== undefined) throw sending.error;
      // What the head has promised is kept: a stop that comes later ends the connection at the next request, or before it.
      return keep;
    } catch (error) {
      if (origins.closed) throw clientGone();
      throw sending.error ?? error;
    } finally {
      // Whatever was not kept is of no use to anybody.
      origins.abandon();
    }
  }
}

/** What of the body had to be read before the request can go on, rewritten where it is whole. */
async function rewrittenBody({ client, request }: Exchange, { rewriteRequest }: Outgoing) {
  const { framing, requests, head } = request;
  if (rewriteRequest === undefined || isEmpty(framing)) return undefined;
  if (framing.kind === 'length' && framing.length > rewriteRequest.maxBytes) return undefined;
  // Whoever waits for our word before it sends the body would wait for the origin's, which comes after it.
  if (head.version === '1.1' && headerTokens(head.headers, 'expect').includes('100-continue')) {
    await client.write(goOn);
  }
  const held = await holdBody(requests, rewriteRequest.maxBytes);
  if (!held.whole) return held;
  return { whole: true, parts: [await rewriteRequest.whole(Buffer.concat(held.parts))] };
}

const lengthOf = (parts: readonly Buffer[]) => parts.reduce((sum, part) => sum + part.length, 0);

async function sendBody(
  { request }: Exchange,
  { conn }: Origin,
  sending: Sending,
  early: readonly Buffer[],
  framing: BodyFraming,
) {
  const { requests, head } = request;
  const chunked = framing.kind === 'chunked';
  try {
    if (early.length > 0) await conn.write(encodeParts(early, chunked)).catch(sending.refused);
    for (;;) {
      const parts = await requests.bodyParts();
      if (sending.over) return;
      if (parts === null) break;
      await conn.write(encodeParts(parts, chunked)).catch(sending.refused);
    }
    if (chunked) {
      const trailers = encodeEnd(forwardable(requests.trailers, { connection: head.headers }));
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
  exchanged: Exchange,
  { answers }: Origin,
  sending: Sending,
  { isForProxy }: Outgoing,
  mayUpgrade: boolean,
): Promise<Http1ResponseHead | 'ended'> {
  const { client, where, request } = exchanged;
  for (let interim = 0; interim <= maxInterim; interim++) {
    const head = await nextHead(answers, sending, request.requests, exchanged.answerMs ?? defaultAnswerMs);
    if (head === 'ended') return head;
    if (head === 'idle' || head === 'interrupted') {
      throw new ProxyError('upstreamTimeout', 'upstream', `${where} did not answer in time`, { status: 504 });
    }
    if (head.status === 101 && !mayUpgrade)
      throw badAnswer(where, 'it changes to a protocol that nobody asked for');
    if (head.status === 101 || head.status >= 200) {
      if (head.status === 407 && isForProxy !== true)
        throw badAnswer(where, 'it asks for the credentials of a proxy');
      return head;
    }
    answers.beginBody({ kind: 'none' });
    // Nobody who speaks HTTP/1.0 knows of interim answers (RFC 9110, section 15.2).
    if (request.head.version === '1.0') continue;
    await client.write(encodeAnswerHead(head, forwardable(head.headers)));
  }
  throw badAnswer(where, 'it sends interim answers without an end');
}

/** As {@link MessageReader.head}; the wait begins when the request is sent. */
async function nextHead(
  answers: MessageReader<'response'>,
  sending: Sending,
  requests: MessageReader<'request'>,
  idleMs: number,
): Promise<Http1ResponseHead | NoHead> {
  for (;;) {
    const sent = requests.bodyDone;
    try {
      const head = await answers.head({ idleMs, headMs: answerHeadMs });
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

async function switchProtocols(
  { client, origins, request, session, idleMs }: Exchange,
  { conn, answers }: Origin,
  answer: Http1ResponseHead,
): Promise<false> {
  const { progress, requests } = request;
  const fields = forwardable(answer.headers);
  if (answer.status === 101) {
    fields.push('Connection', 'Upgrade', 'Upgrade', headerTokens(answer.headers, 'upgrade').join(', '));
  }
  progress.status = answer.status;
  progress.fields = fields;
  progress.untilClose = true;
  request.isTunnel = true;
  await client.write(encodeAnswerHead(answer, fields));
  answers.release();
  requests.release();
  origins.release();
  const broke = await session.relay(client, conn, { ...(idleMs !== undefined && { idleMs }) });
  if (broke !== undefined) throw broke;
  return false;
}
