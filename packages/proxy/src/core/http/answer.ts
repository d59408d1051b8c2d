import { bodyFraming, formatHead, headerValue, Http1Error, keepsAlive } from '@sallyport/plugin/wire';
import type { BodyFraming, Http1RequestHead, Http1ResponseHead } from '@sallyport/plugin/wire';
import { ProxyError } from '../errors.ts';
import { encodeEnd, encodeParts, holdBody } from './body.ts';
import type { Exchange } from './exchange.ts';
import { dropField, forwardable } from './fields.ts';
import type { Origin } from './origins.ts';
import type { Outgoing } from './outgoing.ts';
import type { BodyRewrite } from './rewrite-body.ts';
import type { Sending } from './sending.ts';

/** Passes the final answer on. Resolves with whether the client's connection may carry another request. */
export async function passAnswer(
  exchanged: Exchange,
  origin: Origin,
  answer: Http1ResponseHead,
  outgoing: Outgoing,
  sending: Sending,
): Promise<boolean> {
  const { client, origins, session, where } = exchanged;
  const { head: request, progress, requests } = exchanged.request;
  const { answers } = origin;
  const framed = frame(answer, request, where);
  answers.beginBody(framed);
  const failed = outgoing.failed?.(answer.status) ?? false;
  const rewrite = framed.kind === 'none' ? undefined : outgoing.rewriteAnswer?.(answer);
  const body = await rewrittenBody(origin, framed, rewrite);
  const events = rewrite?.events;
  const framing: BodyFraming =
    body.changed !== undefined
      ? { kind: 'length', length: body.changed }
      : events
        ? { kind: 'chunked' }
        : framed;
  const endless = framing.kind === 'chunked' || framing.kind === 'untilClose';
  const chunked = endless && request.version === '1.1';
  const untilClose = endless && !chunked;
  // A client that is told no will hardly send the rest of its body, and what it does send must not be taken for a request.
  const refused = answer.status >= 300 && !requests.bodyDone;
  const mayKeep = exchanged.keepsAlive !== false && !failed && !session.stopping;
  const keep = keepsAlive(request) && mayKeep && !untilClose && !refused;
  const fields = forwardable(answer.headers, { keepsProxyFields: outgoing.isForProxy === true });
  if (rewrite !== undefined) for (const digest of digests) dropField(fields, digest);
  outgoing.editAnswer?.(fields);
  const length = framing.kind === 'length' ? String(framing.length) : lengthWithoutBody(answer, request);
  if (length !== undefined) fields.push('Content-Length', length);
  if (chunked) fields.push('Transfer-Encoding', 'chunked');
  if (!keep) fields.push('Connection', 'close');
  else if (request.version === '1.0') fields.push('Connection', 'keep-alive');
  const head = encodeAnswerHead(answer, fields);
  // What has come together goes on together; and while nothing has gone on, what is wrong can still be told.
  const raw = answers.rest.length > 0 ? ((await answers.bodyParts()) ?? []) : [];
  const early = events === undefined ? [...body.parts, ...raw] : [await events.push(raw)];
  progress.status = answer.status;
  progress.fields = fields;
  progress.untilClose = untilClose;
  await client.write(Buffer.concat([head, encodeParts(early, chunked)]));
  await passBody(exchanged, origin, events, chunked);
  if (chunked) await client.write(encodeEnd(forwardable(answers.trailers, { connection: answer.headers })));
  const whole = sending.done;
  sending.over = true;
  const clean = framed.kind !== 'untilClose' && answers.rest.length === 0;
  if (whole && clean && keepsAlive(answer) && mayKeep) origins.keep();
  return keep && whole;
}

/** Fields that say something of the bytes of the body that is not true any more. */
const digests = ['content-md5', 'digest', 'content-digest', 'repr-digest', 'accept-ranges'];

/** What of the body had to be read before the head can be sent; `changed` is its new length where it was rewritten. */
async function rewrittenBody({ answers }: Origin, framing: BodyFraming, rewrite: BodyRewrite | undefined) {
  if (rewrite === undefined || rewrite.events !== undefined) return { parts: [] };
  if (framing.kind === 'length' && framing.length > rewrite.maxBytes) return { parts: [] };
  const held = await holdBody(answers, rewrite.maxBytes);
  if (!held.whole) return { parts: held.parts };
  const body = await rewrite.whole(Buffer.concat(held.parts));
  return { parts: [body], changed: body.length };
}

async function passBody(
  { client }: Exchange,
  { answers }: Origin,
  events: BodyRewrite['events'],
  chunked: boolean,
): Promise<void> {
  try {
    for (let parts = await answers.bodyParts(); parts !== null; parts = await answers.bodyParts()) {
      const out = events === undefined ? parts : [await events.push(parts)];
      await client.write(encodeParts(out, chunked));
    }
  } catch (error) {
    const broke = ProxyError.from(error);
    if (events === undefined || broke.at !== 'upstream') throw broke;
    // The rewriter is told how the stream ended; what it says to that is the last thing that the client gets.
    await client.write(encodeParts([await events.end(broke.message)], chunked));
    throw broke;
  }
  if (events !== undefined) await client.write(encodeParts([await events.end()], chunked));
}

function frame(answer: Http1ResponseHead, request: Http1RequestHead, where: string): BodyFraming {
  try {
    return bodyFraming(answer, request.method);
  } catch (error) {
    if (error instanceof Http1Error) throw badAnswer(where, error.message, error);
    throw error;
  }
}

/** `Content-Length` says what a GET would have brought where there is no body (RFC 9110, section 8.6). */
function lengthWithoutBody(answer: Http1ResponseHead, { method }: Http1RequestHead): string | undefined {
  if (method !== 'HEAD' && answer.status !== 304) return undefined;
  const length = headerValue(answer.headers, 'content-length');
  return length !== undefined && /^\d+$/.test(length) ? length : undefined;
}

/** The head of an answer as the client gets it. */
export function encodeAnswerHead({ status, reason }: Http1ResponseHead, fields: readonly string[]): Buffer {
  return Buffer.from(formatHead(`HTTP/1.1 ${String(status)} ${reason}`, fields), 'latin1');
}

/** The error of an answer that cannot be passed on. */
export function badAnswer(where: string, why: string, cause?: Error): ProxyError {
  return new ProxyError('badUpstreamReply', 'upstream', `${where} gave no valid answer: ${why}`, {
    status: 502,
    cause,
  });
}
