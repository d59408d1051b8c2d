import { headerTokens, headerValue } from '@sallyport/plugin/wire';
import type { NodeHttp } from '../route.ts';
import type { Session } from '../session.ts';
import { splitTarget } from './authority.ts';
import { createBodyRewrite } from './body-rules.ts';
import { dropField, editFields } from './fields.ts';
import type { Outgoing } from './outgoing.ts';
import type { HttpRequest } from './request.ts';
import { replaceAll } from './template.ts';

/** Content codings that a body can be rewritten in. */
const codings = new Set(['gzip', 'x-gzip', 'deflate', 'br', 'identity']);

/** A request and its answer as a node's `http` settings change them. */
export function nodeOutgoing(
  plain: Outgoing,
  http: NodeHttp,
  { head }: HttpRequest,
  session: Session,
): Outgoing {
  const rewritesAnswer = http.rewriteResponseBody.length > 0;
  const target = rewriteTarget(plain.target, http.rewriteUrl);
  const rewrite = (
    rules: NodeHttp['rewriteRequestBody'],
    fields: readonly string[],
    direction: 'request' | 'response',
  ) =>
    createBodyRewrite(rules, {
      session,
      direction,
      uri: target,
      contentType: headerValue(fields, 'content-type') ?? '',
      contentEncoding: headerTokens(fields, 'content-encoding').join(','),
    });
  return {
    ...plain,
    target,
    host: http.host === '' ? plain.host : http.host,
    editRequest(fields) {
      // It was meant for us.
      if (http.auth !== undefined) dropField(fields, 'authorization');
      if (rewritesAnswer) askForReadable(fields);
      editFields(fields, http.requestHeader);
    },
    editAnswer(fields) {
      editFields(fields, http.responseHeader);
    },
    rewriteRequest: rewrite(http.rewriteRequestBody, head.headers, 'request'),
    rewriteAnswer: (answer) => rewrite(http.rewriteResponseBody, answer.headers, 'response'),
  };
}

/** An answer that is to be rewritten must come whole and in a coding that we know. */
function askForReadable(fields: string[]): void {
  dropField(fields, 'range');
  dropField(fields, 'if-range');
  const accepted = headerTokens(fields, 'accept-encoding');
  if (accepted.length === 0) return;
  dropField(fields, 'accept-encoding');
  const readable = accepted.filter((token) => codings.has(token.split(';')[0]!.trim()));
  fields.push('Accept-Encoding', readable.length === 0 ? 'identity' : readable.join(', '));
}

/** The first pattern that is in the path rewrites it; a query in the replacement takes the place of the request's. */
function rewriteTarget(target: string, rules: NodeHttp['rewriteUrl']): string {
  if (rules.length === 0) return target;
  const [, origin = '', rest] = /^([A-Za-z][A-Za-z\d+.-]*:\/\/[^/?]*)?(.*)$/s.exec(target)!;
  const [path, query] = splitTarget(rest!);
  for (const { match, replacement } of rules) {
    const pattern = match.global ? match : new RegExp(match.source, `${match.flags}g`);
    if (path.search(pattern) < 0) continue;
    const rewritten = replaceAll(path, pattern, replacement);
    // As in GOST a rule that leaves nothing is none.
    if (rewritten === '') continue;
    const written = rewritten.startsWith('/') ? rewritten : `/${rewritten}`;
    const encoded = written.replace(/[^\x21-\x7e\x80-\xff]/gu, (char) => encodeURIComponent(char));
    return `${origin}${encoded}${encoded.includes('?') ? '' : query}`;
  }
  return target;
}
