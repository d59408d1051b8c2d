import { timingSafeEqual } from 'node:crypto';
import type { RawHeaders } from '../wire/grpc.ts';

/** Whether a request carries the token; always, where no token is asked for. */
export type TokenCheck = (metadata: RawHeaders) => boolean;

/**
 * The checks of one token: `token` in gRPC's metadata, `Authorization: Bearer` over HTTP. The time that they take tells
 * nothing of the token but its length.
 */
export function createTokenChecks(token: string | undefined): {
  readonly grpc: TokenCheck;
  readonly http: TokenCheck;
} {
  // GOST sends no metadata for an empty token, so an empty one asks for nothing.
  if (token === undefined || token === '') return { grpc: () => true, http: () => true };
  const expected = Buffer.from(token);
  const isToken = (given: string): boolean => {
    const bytes = Buffer.from(given);
    if (bytes.length === expected.length) return timingSafeEqual(bytes, expected);
    timingSafeEqual(expected, expected);
    return false;
  };
  return {
    grpc: (metadata) => {
      const given = find(metadata, 'token');
      return given !== undefined && isToken(given);
    },
    http: (headers) => {
      // The scheme's case does not matter (RFC 9110, section 11.1).
      const given = /^bearer +(.*)$/i.exec(find(headers, 'authorization') ?? '')?.[1];
      return given !== undefined && isToken(given);
    },
  };
}

function find(headers: RawHeaders, name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    const found = headers[i]!;
    if (found.length === name.length && (found === name || found.toLowerCase() === name))
      return headers[i + 1];
  }
  return undefined;
}
