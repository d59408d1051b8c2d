import type { RawHeaders } from '../grpc.ts';
import { fieldValue, findFieldError } from './fields.ts';
import { HpackDecoder, HpackEncoder, HpackError } from './hpack.ts';
import type { HpackDecoderOptions } from './hpack-decoder.ts';

/** What a header section is for; it decides which pseudo-header fields it may and must have. */
export type SectionKind = 'request' | 'response' | 'trailers';

/** A header block that was read. */
export interface HeaderSection {
  /** The same array for the same bytes, as long as it is remembered, so that whoever reads it can remember it too. */
  readonly fields: RawHeaders;
  /** What makes the section malformed, if anything does. It is an error of the stream. */
  readonly error: string | undefined;
  /** The list was larger than allowed and was read without being kept. */
  readonly isTooLarge: boolean;
  /** The value of content-length; -1 where there is none. */
  readonly contentBytes: number;
}

interface RememberedSection {
  readonly bytes: Buffer;
  readonly kind: SectionKind;
  readonly tableVersion: number;
  readonly section: HeaderSection;
}

// Few different blocks make up nearly all of a plugin connection. Longer ones are rare and cost more to compare.
const rememberedSections = 32;
const rememberUpToBytes = 256;

/** Reads header blocks and remembers the last ones, as the blocks of plugin calls are nearly always the same bytes. */
export class HeaderReader {
  readonly #decoder: HpackDecoder;
  readonly #remembered = new Array<RememberedSection | undefined>(rememberedSections).fill(undefined);

  constructor(options: HpackDecoderOptions) {
    this.#decoder = new HpackDecoder(options);
  }

  /** Reads one block. Throws HpackError `compression`, after which the connection is lost. */
  read(bytes: Buffer, from: number, to: number, kind: SectionKind): HeaderSection {
    const length = to - from;
    if (length > rememberUpToBytes || length === 0) return this.#decode(bytes.subarray(from, to), kind);
    const slot = slotOf(bytes, from, to);
    const known = this.#remembered[slot];
    const version = this.#decoder.tableVersion;
    if (
      known !== undefined &&
      known.tableVersion === version &&
      known.kind === kind &&
      isSame(known.bytes, bytes, from, length)
    ) {
      return known.section;
    }
    const block = bytes.subarray(from, to);
    const section = this.#decode(block, kind);
    // A block that changes the table means something else the next time; one that resizes it must be read each time.
    const resizes = (block[0]! & 0xe0) === 0x20;
    if (!resizes && this.#decoder.tableVersion === version) {
      this.#remembered[slot] = { bytes: Buffer.from(block), kind, tableVersion: version, section };
    }
    return section;
  }

  #decode(block: Buffer, kind: SectionKind): HeaderSection {
    try {
      const fields = this.#decoder.decode(block);
      return {
        fields,
        error: findFieldError(fields, kind),
        isTooLarge: false,
        contentBytes: contentBytes(fields),
      };
    } catch (error) {
      if (error instanceof HpackError && error.code === 'tooLarge') {
        return { fields: [], error: error.message, isTooLarge: true, contentBytes: -1 };
      }
      throw error;
    }
  }
}

/** A value that is no number promises what no body keeps. */
function contentBytes(fields: RawHeaders): number {
  const value = fieldValue(fields, 'content-length');
  if (value === undefined) return -1;
  return /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
}

function slotOf(bytes: Buffer, from: number, to: number): number {
  let hash = to - from;
  const step = 1 + ((to - from) >>> 4);
  for (let at = to - 1; at >= from; at -= step) hash = (hash * 31 + bytes[at]!) | 0;
  return (hash ^ (hash >>> 15)) & (rememberedSections - 1);
}

function isSame(known: Buffer, bytes: Buffer, from: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let i = 0; i < length; i++) if (known[i] !== bytes[from + i]) return false;
  return true;
}

interface RememberedBlock {
  readonly block: Buffer;
  readonly tableVersion: number;
}

/** Writes header blocks; a list that is passed again as the same array costs a look-up. */
export class HeaderWriter {
  readonly #encoder = new HpackEncoder({ maxTableBytes: 4096 });
  #remembered = new WeakMap<RawHeaders, RememberedBlock>();

  /** Takes the peer's SETTINGS_HEADER_TABLE_SIZE. */
  setMaxTableBytes(maxTableBytes: number): void {
    this.#encoder.setMaxTableBytes(maxTableBytes);
    // The next block must begin with the change of size.
    this.#remembered = new WeakMap();
  }

  /**
   * Writes one block, which must be sent before the next one is made. `fields` must not change afterwards. Throws
   * HpackError for a character beyond U+00FF; nothing has happened then.
   */
  write(fields: RawHeaders): Buffer {
    const version = this.#encoder.tableVersion;
    const known = this.#remembered.get(fields);
    if (known !== undefined && known.tableVersion === version) return known.block;
    const block = this.#encoder.encode(fields);
    const resizes = (block[0]! & 0xe0) === 0x20;
    if (!resizes && this.#encoder.tableVersion === version) {
      this.#remembered.set(fields, { block, tableVersion: version });
    }
    return block;
  }
}
