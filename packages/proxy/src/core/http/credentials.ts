import type { Credentials } from '../session.ts';

const none: Credentials = { username: '', password: '' };

/**
 * Reads a `Proxy-Authorization: Basic …` value (RFC 7617). No value, another scheme and what cannot be read count as no
 * credentials: the auther is asked with empty ones, as in GOST, because it may let a client in for its address.
 */
export function parseBasic(value: string | undefined): Credentials {
  const encoded = /^basic +([A-Za-z\d+/]+={0,2})$/i.exec(value ?? '')?.[1];
  if (encoded === undefined) return none;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(encoded, 'base64'));
  } catch {
    // Not UTF-8, which is the only text that a plugin can be sent. To the auther it is as good as nothing.
    return none;
  }
  const colon = text.indexOf(':');
  if (colon < 0) return none;
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
