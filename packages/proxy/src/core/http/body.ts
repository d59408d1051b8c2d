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

/** The beginning of a body, as much as was read. */
export interface HeldBody {
  readonly parts: readonly Buffer[];
  /** True where that is all of it. */
  readonly whole: boolean;
}

/** Reads a body until its end, or until more than `maxBytes` have come. Rejects as the reader does. */
export async function holdBody(
  reader: { bodyParts(): Promise<readonly Buffer[] | null> },
  maxBytes: number,
): Promise<HeldBody> {
  const held: Buffer[] = [];
  let bytes = 0;
  for (let parts = await reader.bodyParts(); parts !== null; parts = await reader.bodyParts()) {
    for (const part of parts) {
      held.push(part);
      bytes += part.length;
    }
    if (bytes > maxBytes) return { parts: held, whole: false };
  }
  return { parts: held, whole: true };
}
