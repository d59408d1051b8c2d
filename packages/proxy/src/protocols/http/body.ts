import { formatChunkLine, formatHead } from '@sallyport/plugin/wire';

const lineEnd = Buffer.from('\r\n');

/** Parts of a body as they are sent: as they are, or as one chunk. Empty where there is nothing to send. */
export function encodeParts(parts: readonly Buffer[], chunked: boolean): Buffer {
  const first = parts[0];
  if (!chunked) return parts.length === 1 && first !== undefined ? first : Buffer.concat(parts);
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  if (bytes === 0) return Buffer.alloc(0);
  return Buffer.concat([Buffer.from(formatChunkLine(bytes), 'latin1'), ...parts, lineEnd]);
}

/** The last chunk and the trailers, which look like a head whose first line is `0` (RFC 9112, section 7.1). */
export function encodeEnd(trailers: readonly string[]): Buffer {
  return Buffer.from(formatHead('0', trailers), 'latin1');
}
