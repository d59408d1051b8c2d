/** Says what a server's first bytes are when they are not HTTP/2 but something that is known. */
export function describeForeign(chunk: Buffer): 'http1' | 'tls' | undefined {
  if (chunk.toString('latin1', 0, 5) === 'HTTP/') return 'http1';
  // A TLS record: an alert, or a handshake (RFC 8446, section 5.1).
  if ((chunk[0] === 0x15 || chunk[0] === 0x16) && chunk[1] === 3) return 'tls';
  return undefined;
}
