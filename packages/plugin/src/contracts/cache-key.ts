import { isIP } from 'node:net';

/** Joins the identity inputs of a question so that no two different lists make the same key, whatever they hold. */
export function keyOf(...parts: readonly string[]): string {
  let key = '';
  for (const part of parts) key += `${part.length}:${part}`;
  return key;
}

/** A client's address without its port, which changes with every connection and is no part of who asks. */
export function addressKey(address: string): string {
  if (isIP(address) !== 0) return address;
  const colon = address.lastIndexOf(':');
  return colon > 0 && /^[0-9]*$/.test(address.slice(colon + 1)) ? address.slice(0, colon) : address;
}
