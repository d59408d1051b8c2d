import { PluginError } from '../errors.ts';
import { parseJson, writeJson, type JsonObject } from '../wire/go-json.ts';

/** Metadata on the wire: JSON inside bytes. Keys are sorted, as Go writes a map; nothing is `null`. */
export function metadataBytes(metadata: JsonObject | null): Buffer {
  return Buffer.from(writeJson(metadata, { sortKeys: true }));
}

/** The reverse of {@link metadataBytes}; no bytes at all are nothing too. Throws PluginError `badReply`. */
export function parseMetadata(bytes: Uint8Array): JsonObject | null {
  if (bytes.length === 0) return null;
  const value = parseJson(bytes);
  if (typeof value === 'object' && !Array.isArray(value)) return value as JsonObject | null;
  throw new PluginError('badReply', 'metadata must be an object or null');
}
