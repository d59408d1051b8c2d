import { headerValue } from '@sallyport/plugin/wire';
import { formatAddress } from '../address.ts';
import type { HttpRequest } from './request.ts';

/** Whose values are credentials. */
const secret = new Set(['authorization', 'proxy-authorization']);

/** One request and its answer as GOST's records have them under `http`. Bodies are not recorded; credentials are left out. */
export function recordOf(
  { head, framing, progress, target }: HttpRequest,
  scheme: string,
): Readonly<Record<string, unknown>> {
  const fields = progress.fields ?? [];
  return {
    host: target === undefined ? (headerValue(head.headers, 'host') ?? '') : formatAddress(target),
    method: head.method,
    proto: `HTTP/${head.version}`,
    scheme,
    uri: head.target,
    cached: false,
    statusCode: progress.status ?? 0,
    request: {
      contentLength: framing.kind === 'length' ? framing.length : framing.kind === 'none' ? 0 : -1,
      header: headerOf(head.headers),
      body: null,
    },
    response: { contentLength: lengthOf(fields), header: headerOf(fields), body: null },
  };
}

/** As Go has it: -1 where nobody knows beforehand. */
function lengthOf(fields: readonly string[]): number {
  const length = headerValue(fields, 'content-length');
  if (length !== undefined) return Number(length);
  return headerValue(fields, 'transfer-encoding') === undefined ? 0 : -1;
}

function headerOf(fields: readonly string[]): Record<string, string[]> {
  const header: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (let i = 0; i < fields.length; i += 2) {
    const lower = fields[i]!.toLowerCase();
    // GOST's records have names as Go's library writes them.
    if (lower === 'host') continue;
    const name = lower.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
    (header[name] ??= []).push(secret.has(lower) ? '***' : fields[i + 1]!);
  }
  return header;
}
