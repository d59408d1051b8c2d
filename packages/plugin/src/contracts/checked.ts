import { isIP } from 'node:net';
import { PluginError } from '../errors.ts';
import { nilBytes } from '../wire/proto.ts';

/**
 * An implementer's yes or no, which must be one: a function that forgot to return would otherwise be a "no", and a
 * bypass that says "no" lets the client pass.
 */
export function yesOrNo(answer: unknown, method: string): boolean {
  if (typeof answer === 'boolean') return answer;
  throw new PluginError('internal', `${method} must answer true or false, not ${typeof answer}`);
}

/** The texts that are IP addresses, in their order; zones (`%eth0`) are not, as in Go. */
export function ipsOf(texts: readonly string[]): readonly string[] {
  return texts.filter((text) => isIP(text) !== 0 && !text.includes('%'));
}

/** The same bytes as the Buffer that the wire wants; no bytes are Go's nil slice, as GOST sends them. */
export function bytesOf(bytes: Uint8Array): Buffer {
  if (bytes.length === 0) return nilBytes;
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
