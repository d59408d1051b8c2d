/** Says what a server's first bytes are when they are not HTTP/2 but something that is known. */
export function describeForeign(chunk: Buffer): 'http1' | 'tls' | undefined {
  const text = chunk.toString('latin1', 0, 512);
  // Go's and nginx's words for a plain request on a TLS port.
  if (text.startsWith('HTTP/')) return /HTTPS (?:server|port)/.test(text) ? 'tls' : 'http1';
  // A TLS record: an alert, or a handshake (RFC 8446, section 5.1).
  if ((chunk[0] === 0x15 || chunk[0] === 0x16) && chunk[1] === 3) return 'tls';
  return undefined;
}
