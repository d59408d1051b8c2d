import { DynamicTable, entryOverheadBytes, initialTableBytes } from './hpack-dynamic-table.ts';
import { HpackError } from './hpack-error.ts';
import { staticEntries, staticTable } from './hpack-static-table.ts';
import { huffmanLength, writeHuffman } from './huffman.ts';

/** The bounds of a {@link HpackEncoder}. */
export interface HpackEncoderOptions {
  /**
   * The most bytes that we keep in the dynamic table, whatever larger size the peer offers. 0: no table, so every block
   * stands for itself. 4096 holds all that a plugin connection repeats.
   */
  readonly maxTableBytes: number;
}

// Credentials: nobody on the way may put them into a table, where they could be guessed at (RFC 7541, section 7.1.3).
const neverIndexed = new Set(['authorization', 'proxy-authorization', 'token', 'cookie', 'set-cookie']);

// Different in nearly every call: they would only push out what repeats.
const notIndexed = new Set([
  'age',
  'content-length',
  'date',
  'etag',
  'grpc-message',
  'grpc-status-details-bin',
  'grpc-timeout',
  'last-modified',
  'location',
  'sallyport-reason',
  'sallyport-tag',
  'sallyport-ttl-ms',
  'traceparent',
  'x-request-id',
]);

/** Where a name is known: the index of a static entry (0: none), its static values, and its entries in the dynamic table. */
interface KnownName {
  readonly staticIndex: number;
  readonly staticValues: ReadonlyMap<string, number>;
}

const staticNames = new Map<string, { staticIndex: number; staticValues: Map<string, number> }>();
for (let index = 1; index <= staticEntries; index++) {
  const name = staticTable[index * 2 - 2]!;
  const value = staticTable[index * 2 - 1]!;
  const known = staticNames.get(name) ?? { staticIndex: index, staticValues: new Map<string, number>() };
  known.staticValues.set(value, index);
  staticNames.set(name, known);
}
const unknownName: KnownName = { staticIndex: 0, staticValues: new Map() };

// The first octet's pattern and the largest number that fits into its prefix (RFC 7541, section 6).
const indexed = { pattern: 0x80, mask: 0x7f };
const withIndexing = { pattern: 0x40, mask: 0x3f };
const withoutIndexing = { pattern: 0x00, mask: 0x0f };
const neverIndexing = { pattern: 0x10, mask: 0x0f };
const sizeUpdate = { pattern: 0x20, mask: 0x1f };

// An integer is at most its first octet and five more; a field has up to three.
const integersBytes = 18;

/** Writes the header blocks of one direction of one connection, which must be sent in the order in which they were made. */
export class HpackEncoder {
  readonly #ownMaxBytes: number;
  readonly #table: DynamicTable;
  /** The newest entry of each name, and of each name's value, by its number in the table. */
  readonly #entries = new Map<string, { newest: number; values: Map<string, number> }>();
  /** The table size that the peer believes in. */
  #announced = initialTableBytes;
  /** The smallest size that the peer asked for since the last block, and the last one. */
  #smallest = initialTableBytes;
  #target: number;

  constructor(options: HpackEncoderOptions) {
    this.#ownMaxBytes = options.maxTableBytes;
    // Using less than the peer believes needs no word: indices count from the newest entry, so they stay the same.
    this.#target = Math.min(options.maxTableBytes, initialTableBytes);
    this.#table = new DynamicTable(this.#target, (name, value, number) => this.#forget(name, value, number));
  }

  /** Changes whenever the dynamic table does; while it stays the same, the same fields make the same block. */
  get tableVersion(): number {
    return this.#table.added + this.#table.evicted;
  }

  /** What the dynamic table takes now, in bytes by the count of RFC 7541, section 4.1. */
  get tableBytes(): number {
    return this.#table.bytes;
  }

  /**
   * Takes the peer's SETTINGS_HEADER_TABLE_SIZE. The next block begins with the updates that RFC 7541, section 4.2 asks
   * for: the smallest size of several changes, then the last. Never more than our own bound is used.
   */
  setMaxTableBytes(maxTableBytes: number): void {
    this.#smallest = Math.min(this.#smallest, maxTableBytes);
    this.#target = Math.min(this.#ownMaxBytes, maxTableBytes);
  }

  /**
   * Writes one block from name, value, name, value, … Names must be lower case. Characters are bytes (latin1); one beyond
   * U+00FF throws HpackError `compression` before anything is written, so the tables still agree. The buffer is the
   * caller's.
   */
  encode(headers: readonly string[]): Buffer {
    let room = 2 * integersBytes;
    for (let i = 0; i < headers.length; i++) {
      const text = headers[i]!;
      if (!isLatin1(text)) throw new HpackError('compression', 'a header has a character beyond U+00FF');
      room += text.length + integersBytes;
    }
    const out = Buffer.allocUnsafe(room);
    let at = this.#smallest < this.#announced || this.#target > this.#announced ? this.#writeUpdates(out) : 0;
    for (let i = 0; i + 1 < headers.length; i += 2)
      at = this.#writeField(headers[i]!, headers[i + 1]!, out, at);
    return out.subarray(0, at);
  }

  #writeUpdates(out: Buffer): number {
    let at = 0;
    if (this.#smallest < this.#announced) {
      this.#announced = Math.min(this.#smallest, this.#target);
      this.#table.resize(this.#announced);
      at = writeInteger(sizeUpdate.pattern, sizeUpdate.mask, this.#announced, out, at);
    }
    if (this.#target > this.#announced) {
      this.#announced = this.#target;
      at = writeInteger(sizeUpdate.pattern, sizeUpdate.mask, this.#announced, out, at);
    }
    this.#table.resize(this.#target);
    this.#smallest = this.#announced;
    return at;
  }

  #writeField(name: string, value: string, out: Buffer, at: number): number {
    const known: KnownName = staticNames.get(name) ?? unknownName;
    const staticIndex = known.staticValues.get(value);
    if (staticIndex !== undefined) return writeInteger(indexed.pattern, indexed.mask, staticIndex, out, at);

    const entries = this.#entries.get(name);
    const number = entries?.values.get(value);
    if (number !== undefined)
      return writeInteger(indexed.pattern, indexed.mask, this.#indexOf(number), out, at);

    const form = this.#formOf(name, value);
    const nameIndex =
      known.staticIndex > 0 || entries === undefined ? known.staticIndex : this.#indexOf(entries.newest);
    at = writeInteger(form.pattern, form.mask, nameIndex, out, at);
    if (nameIndex === 0) at = writeString(name, out, at);
    at = writeString(value, out, at);
    if (form === withIndexing) this.#remember(name, value);
    return at;
  }

  #formOf(name: string, value: string): { pattern: number; mask: number } {
    if (neverIndexed.has(name)) return neverIndexing;
    // An entry that takes a large part of the table costs more in what it pushes out than it saves.
    if (name.length + value.length + entryOverheadBytes > this.#table.maxBytes / 4) return withoutIndexing;
    if (notIndexed.has(name) || name.endsWith('-bin')) return withoutIndexing;
    if (name === ':path' && value.includes('?')) return withoutIndexing;
    return withIndexing;
  }

  #indexOf(number: number): number {
    return staticEntries + this.#table.added - number;
  }

  #remember(name: string, value: string): void {
    const number = this.#table.added;
    this.#table.add(name, value);
    const entries = this.#entries.get(name);
    if (entries === undefined)
      this.#entries.set(name, { newest: number, values: new Map([[value, number]]) });
    else {
      entries.newest = number;
      entries.values.set(value, number);
    }
  }

  #forget(name: string, value: string, number: number): void {
    const entries = this.#entries.get(name)!;
    if (entries.values.get(value) === number) entries.values.delete(value);
    if (entries.newest === number) this.#entries.delete(name);
  }
}

/** RFC 7541, section 5.1. */
function writeInteger(pattern: number, mask: number, value: number, out: Buffer, at: number): number {
  if (value < mask) {
    out[at] = pattern | value;
    return at + 1;
  }
  out[at++] = pattern | mask;
  value -= mask;
  while (value >= 0x80) {
    out[at++] = (value % 0x80) | 0x80;
    value = Math.floor(value / 0x80);
  }
  out[at++] = value;
  return at;
}

/** RFC 7541, section 5.2: Huffman-coded where that is shorter. */
function writeString(text: string, out: Buffer, at: number): number {
  const coded = huffmanLength(text);
  if (coded < text.length) return writeHuffman(text, out, writeInteger(0x80, 0x7f, coded, out, at));
  at = writeInteger(0, 0x7f, text.length, out, at);
  if (text.length > 32) return at + out.write(text, at, 'latin1');
  for (let i = 0; i < text.length; i++) out[at++] = text.charCodeAt(i);
  return at;
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}
