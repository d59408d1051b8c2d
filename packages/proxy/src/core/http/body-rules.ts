import { isUtf8 } from 'node:buffer';
import type { JsonObject } from '@sallyport/plugin';
import { ProxyError } from '../errors.ts';
import type { BodyRule } from '../route.ts';
import type { Session } from '../session.ts';
import { codingOf } from './coding.ts';
import { createEventStream } from './event-stream.ts';
import { findJsonValue, textOfJson } from './json-path.ts';
import type { BodyRewrite } from './rewrite-body.ts';
import { compilePattern, replaceAll } from './template.ts';

/** What is known of a body before it comes. */
export interface BodyFacts {
  readonly session: Pick<Session, 'id' | 'decide'>;
  readonly direction: 'request' | 'response';
  /** The request's path and query. */
  readonly uri: string;
  readonly contentType: string;
  readonly contentEncoding: string;
}

/**
 * Makes what rewrites one body by the rules that are for its media type, one after the other; undefined where none is. A body
 * in a coding that is not known passes unchanged, and so does one that is not in the coding that it is said to be in.
 */
export function createBodyRewrite(rules: readonly BodyRule[], facts: BodyFacts): BodyRewrite | undefined {
  const mediaType = facts.contentType.split(';')[0]!.trim().toLowerCase();
  const applied = rules.filter((rule) => isFor(rule, mediaType));
  if (applied.length === 0) return undefined;
  const maxBytes = Math.max(...applied.map(({ maxChunkBytes }) => maxChunkBytes));
  const coding = codingOf(facts.contentEncoding);
  if (coding === undefined) return undefined;
  const { session, direction, uri } = facts;
  const about = { sid: session.id, direction, uri };
  const apply = (body: Buffer, metadata: JsonObject) =>
    applyRules(applied, body, { ...about, ...metadata }, session);
  const isPlain = facts.contentEncoding === '' || facts.contentEncoding === 'identity';
  if (mediaType === 'text/event-stream') {
    return isPlain
      ? {
          maxBytes,
          whole: (body) => apply(body, {}),
          events: createEventStream({ maxEventBytes: maxBytes, apply }),
        }
      : undefined;
  }
  return {
    maxBytes,
    async whole(body) {
      if (body.length === 0) return body;
      let plain: Buffer;
      try {
        plain = await coding.decode(body, maxBytes);
      } catch {
        // It is longer than what may be rewritten, or not what it is said to be: the receiver will see.
        return body;
      }
      const rewritten = await apply(plain, {});
      return rewritten === plain ? body : coding.encode(rewritten);
    },
  };
}

/** As GOST has it: `*`, or a text that holds the media type. */
function isFor({ type, match, rewriter }: BodyRule, mediaType: string): boolean {
  if (match?.startsWith('json:') && rewriter === undefined) return mediaType === 'application/json';
  if (type === '*') return true;
  const written = type === '' ? (rewriter === undefined ? 'text/html' : '*') : type.toLowerCase();
  return written === '*' || (mediaType !== '' && written.includes(mediaType));
}

async function applyRules(
  rules: readonly BodyRule[],
  body: Buffer,
  metadata: JsonObject,
  session: BodyFacts['session'],
): Promise<Buffer> {
  let current = body;
  for (const rule of rules) {
    if (current.length > rule.maxChunkBytes) continue;
    current =
      rule.rewriter === undefined
        ? rewriteByPattern(rule, current)
        : await askRewriter(rule, rule.rewriter, current, metadata, session);
  }
  return current;
}

async function askRewriter(
  rule: BodyRule,
  rewriter: NonNullable<BodyRule['rewriter']>,
  body: Buffer,
  metadata: JsonObject,
  session: BodyFacts['session'],
): Promise<Buffer> {
  // As in GOST a pattern says which bodies the rewriter is asked about; the end of an event stream always is.
  if (body.length > 0 && rule.match !== undefined && rule.match !== '') {
    const { text } = asText(body);
    if (text.search(compiled(rule.match)) < 0) return body;
  }
  const answer = await session.decide({
    module: 'rewriter',
    about: String(metadata.uri),
    status: 502,
    ask: (call) => rewriter.rewrite({ data: body, metadata }, call),
    tell: (data) => ({
      outcome: 'yes',
      answer: data === undefined ? 'unchanged' : `${String(data.length)} bytes`,
    }),
  });
  return answer === undefined ? body : Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
}

function rewriteByPattern({ match, replacement }: BodyRule, body: Buffer): Buffer {
  if (match === undefined || match === '' || body.length === 0) return body;
  const { text, encoding } = asText(body);
  const rewritten = match.startsWith('json:')
    ? rewriteJson(text, match.slice('json:'.length), replacement)
    : replaceAll(text, compiled(match), replacement);
  return rewritten === text ? body : Buffer.from(rewritten, encoding);
}

/** `path` or `path=pattern`: the value becomes the replacement, a string, where the pattern is in it. */
function rewriteJson(text: string, written: string, replacement: string): string {
  const at = written.indexOf('=');
  const path = at < 0 ? written : written.slice(0, at);
  const pattern = at < 0 ? '' : written.slice(at + 1);
  const span = findJsonValue(text, path);
  if (span === undefined) return text;
  const value = textOfJson(text, span);
  if (value === undefined || (pattern !== '' && value.search(compiled(pattern)) < 0)) return text;
  return `${text.slice(0, span.from)}${JSON.stringify(replacement)}${text.slice(span.to)}`;
}

/** Bytes that are no UTF-8 are taken one by one, so that none is lost. */
function asText(body: Buffer): { readonly text: string; readonly encoding: 'utf8' | 'latin1' } {
  const encoding = isUtf8(body) ? 'utf8' : 'latin1';
  return { text: body.toString(encoding), encoding };
}

const patterns = new Map<string, RegExp>();

/** Patterns come from the file, so that there are few; those of nodes that a plugin names may be more. */
const maxPatterns = 1000;

function compiled(written: string): RegExp {
  let pattern = patterns.get(written);
  if (pattern === undefined) {
    try {
      pattern = compilePattern(written);
    } catch (cause) {
      const message = 'a rule that rewrites bodies holds no regular expression that can be read';
      throw new ProxyError('internal', 'self', message, { cause, status: 502 });
    }
    if (patterns.size >= maxPatterns) patterns.clear();
    patterns.set(written, pattern);
  }
  return pattern;
}

/**
 * Says what is wrong with the `match` of a body rule, as a sentence's end; undefined: nothing. For whoever reads the file, so
 * that no request finds out.
 */
export function checkBodyMatch(match: string): string | undefined {
  const json = match.startsWith('json:');
  const at = match.indexOf('=');
  const pattern = json ? (at < 0 ? '' : match.slice(at + 1)) : match;
  if (json && /^json:(?:=|$)/.test(match)) return 'names no path after `json:`';
  try {
    compilePattern(pattern);
    return undefined;
  } catch {
    return 'is no regular expression that can be read';
  }
}
