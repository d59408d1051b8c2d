import type { Meta } from '../contract.ts';
import { PluginError } from '../errors.ts';
import type { RawHeaders } from './grpc.ts';
import { wellFormed } from './json-read.ts';

/** The names under which a {@link Meta} travels: gRPC trailing metadata, HTTP response headers. */
export const metaNames = {
  ttlMs: 'sallyport-ttl-ms',
  reason: 'sallyport-reason',
  tag: 'sallyport-tag',
} as const;

/** The longest reason that is written or read, in UTF-16 units; what is longer is cut. It is one sentence for a log. */
export const maxReasonLength = 512;
/** The longest tag, in UTF-16 units. A tag is never cut, because a part of it would mean something else. */
const maxTagLength = 256;
/** The most tags of one answer. */
export const maxTags = 32;

/**
 * Writes what travels beside an answer: name, value, name, value, … A value is printable ASCII; all other characters,
 * `%` and, in tags, `,` are percent-encoded as UTF-8. Several tags are several headers. Throws PluginError `internal`
 * when a tag or the TTL cannot be said: that is a fault of whoever implements the plugin.
 */
export function writeMeta(meta: Meta): RawHeaders {
  const { ttlMs, reason, tags } = meta;
  if (ttlMs === undefined && reason === undefined && tags === undefined) return none;
  const headers: string[] = [];
  if (ttlMs !== undefined) {
    if (!(ttlMs >= 0 && ttlMs <= Number.MAX_SAFE_INTEGER))
      throw new PluginError(
        'internal',
        `ttlMs must be a number of milliseconds from 0, not ${String(ttlMs)}`,
      );
    headers.push(metaNames.ttlMs, String(Math.floor(ttlMs)));
  }
  if (reason !== undefined && reason !== '')
    headers.push(metaNames.reason, escape(cut(wellFormed(String(reason)))));
  if (tags !== undefined) {
    if (tags.length > maxTags)
      throw new PluginError('internal', `an answer may carry ${maxTags} tags, not ${tags.length}`);
    for (const tag of tags) {
      if (typeof tag !== 'string' || tag === '' || tag.length > maxTagLength || tag.search(controls) >= 0)
        throw new PluginError(
          'internal',
          `a tag is a text of 1 to ${maxTagLength} characters without control characters`,
        );
      headers.push(metaNames.tag, escape(wellFormed(tag)).replaceAll(',', '%2C'));
    }
  }
  return headers;
}

/**
 * Fills `meta` with what a reply's headers or trailers say. What is not understood is left out, never an error: it is
 * optional. Control characters of a reason become spaces, so that it is one line of a log whatever the plugin sends.
 */
export function readMeta(headers: RawHeaders, meta: Meta): void {
  let tags: string[] | undefined;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!;
    if (name.charCodeAt(0) !== 0x73 || !name.startsWith('sallyport-')) continue;
    const value = headers[i + 1]!;
    if (name === metaNames.ttlMs) {
      if (/^\d{1,15}$/.test(value)) meta.ttlMs = Number(value);
    } else if (name === metaNames.reason) {
      const reason = cut(unescape(value).replace(controls, ' ').trim());
      if (reason !== '') meta.reason = reason;
    } else if (name === metaNames.tag) {
      // A proxy between us may have joined several headers into one, as RFC 9110, section 5.3 allows.
      for (const part of value.split(',', maxTags + 1)) {
        const tag = unescape(part.trim());
        tags ??= [];
        if (tag !== '' && tag.length <= maxTagLength && tag.search(controls) < 0 && tags.length < maxTags)
          tags.push(tag);
      }
    }
  }
  if (tags !== undefined) meta.tags = tags;
}

const none: RawHeaders = [];
const controls = /[\p{Cc}\u2028\u2029]/gu;

function cut(text: string): string {
  if (text.length <= maxReasonLength) return text;
  const last = text.charCodeAt(maxReasonLength - 2);
  // Half of a surrogate pair is no character.
  return `${text.slice(0, maxReasonLength - (last >= 0xd800 && last <= 0xdbff ? 2 : 1))}…`;
}

/** Spaces at either end are lost in HTTP (RFC 9110, section 5.5), so they are encoded too. */
function escape(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]+|^ +| +$/gu, (part) =>
    Array.from(Buffer.from(part), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

function unescape(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // Another program's writer may not encode; then the text is meant as it stands.
    return text;
  }
}
