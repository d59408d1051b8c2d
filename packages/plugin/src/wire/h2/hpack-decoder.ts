import { DynamicTable, entryOverheadBytes, initialTableBytes } from './hpack-dynamic-table.ts';
import { HpackError } from './hpack-error.ts';
import { staticEntries, staticTable } from './hpack-static-table.ts';
import { maxDecodedLength, readHuffman } from './huffman.ts';

/** The bounds of a {@link HpackDecoder}, in bytes. */
export interface HpackDecoderOptions {
  /**
   * The largest dynamic table that the peer may use: our SETTINGS_HEADER_TABLE_SIZE as far as it is in force. A peer may
   * use 4096 until it has seen our SETTINGS; whoever announces less than that to a peer that speaks first starts with
   * 4096 and calls {@link HpackDecoder.setMaxTableBytes} when the SETTINGS are acknowledged.
   */
  readonly maxTableBytes: number;
  /** The largest list, counted as RFC 9113, section 6.5.2 does: name, value and 32 bytes for each field. */
  readonly maxListBytes: number;
}

// Larger than anything that a block of a bounded size can speak of, and far from where 32-bit arithmetic ends.
const maxInteger = 2 ** 28;

/**
 * Reads the header blocks of one direction of one connection, in the order in which they came (RFC 7541). Memory is
 * bounded by the two options, whatever the blocks say; time is bounded by the length of a block.
 */
export class HpackDecoder {
  #maxTableBytes: number;
  readonly #maxListBytes: number;
  readonly #table: DynamicTable;
  /** The size that the next block must begin by announcing, or less; undefined: it need not. */
  #owedBytes: number | undefined;
  readonly #scratch = Buffer.allocUnsafe(1024);
  // The block being read and where; kept here so that reading an integer or a string needs no object for its two results.
  #block: Uint8Array = this.#scratch;
  #at = 0;

  constructor(options: HpackDecoderOptions) {
    this.#maxTableBytes = options.maxTableBytes;
    this.#maxListBytes = options.maxListBytes;
    this.#table = new DynamicTable(Math.min(options.maxTableBytes, initialTableBytes));
  }

  /** Changes whenever the dynamic table does; while it stays the same, the same block means the same fields. */
  get tableVersion(): number {
    return this.#table.added + this.#table.evicted;
  }

  /** What the dynamic table takes now, in bytes by the count of RFC 7541, section 4.1. */
  get tableBytes(): number {
    return this.#table.bytes;
  }

  /**
   * Says that a new SETTINGS_HEADER_TABLE_SIZE of ours is in force, that is acknowledged. A table that is larger is cut at
   * once, and the next block must begin with an update to that size or less (RFC 9113, section 4.3.1).
   */
  setMaxTableBytes(maxTableBytes: number): void {
    this.#maxTableBytes = maxTableBytes;
    if (this.#table.maxBytes <= maxTableBytes) return;
    this.#table.resize(maxTableBytes);
    this.#owedBytes = maxTableBytes;
  }

  /**
   * Reads one whole block and returns its fields as name, value, name, value, … Every byte becomes the character of the
   * same number (latin1); whether names and values are well-formed is for the caller to judge. Throws {@link HpackError}.
   */
  decode(block: Uint8Array): string[] {
    const table = this.#table;
    const headers: string[] = [];
    let listBytes = 0;
    let mayResize = true;
    this.#block = block;
    this.#at = 0;

    while (this.#at < block.length) {
      const first = block[this.#at]!;
      if (this.#owedBytes !== undefined && (first & 0xe0) !== 0x20)
        throw broken('a table size update is missing');
      let name: string;
      let value: string;
      if (first >= 0x80) {
        const index = this.#integer(0x7f);
        name = this.#nameAt(index);
        value =
          index <= staticEntries
            ? staticTable[index * 2 - 1]!
            : table.value(table.added + staticEntries - index);
      } else if (first >= 0x40) {
        name = this.#name(0x3f);
        value = this.#string();
        table.add(name, value);
      } else if (first >= 0x20) {
        const size = this.#integer(0x1f);
        if (!mayResize) throw broken('a table size update after the first field');
        if (size > this.#maxTableBytes) throw broken('a table size update above the announced size');
        // Of several changes the smallest size must come first (RFC 7541, section 4.2).
        if (this.#owedBytes !== undefined && size > this.#owedBytes)
          throw broken('a table size update that is too late');
        this.#owedBytes = undefined;
        table.resize(size);
        continue;
      } else {
        // Without indexing (0000) and never indexed (0001) differ only for those who pass the field on.
        name = this.#name(0x0f);
        value = this.#string();
      }
      mayResize = false;
      listBytes += name.length + value.length + entryOverheadBytes;
      if (listBytes <= this.#maxListBytes) headers.push(name, value);
    }

    this.#block = this.#scratch;
    if (listBytes > this.#maxListBytes) {
      throw new HpackError(
        'tooLarge',
        `the header list is ${listBytes} bytes, ${this.#maxListBytes} are allowed`,
      );
    }
    return headers;
  }

  #name(mask: number): string {
    const index = this.#integer(mask);
    return index === 0 ? this.#string() : this.#nameAt(index);
  }

  #nameAt(index: number): string {
    if (index === 0) throw broken('index 0');
    if (index <= staticEntries) return staticTable[index * 2 - 2]!;
    const number = this.#table.added + staticEntries - index;
    if (number < this.#table.evicted) throw broken('an index beyond the table');
    return this.#table.name(number);
  }

  /** RFC 7541, section 5.1. The mask is that of the prefix. */
  #integer(mask: number): number {
    const block = this.#block;
    let value = block[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = block[this.#at++];
      if (byte === undefined) throw broken('an integer cut short');
      // By multiplication: a shift of 28 would run into the sign bit.
      value += (byte & 0x7f) * 2 ** shift;
      if (value > maxInteger) break;
      if (byte < 0x80) return value;
    }
    throw broken('an integer that is too large or too long');
  }

  /** RFC 7541, section 5.2. */
  #string(): string {
    const block = this.#block;
    if (this.#at >= block.length) throw broken('a string cut short');
    const huffman = block[this.#at]! >= 0x80;
    const length = this.#integer(0x7f);
    const from = this.#at;
    const to = from + length;
    if (to > block.length) throw broken('a string cut short');
    this.#at = to;

    if (!huffman) return latin1(block, from, to);
    const room = maxDecodedLength(length);
    // A block may be large; what it needed is not kept for the life of the connection.
    const out = room <= this.#scratch.length ? this.#scratch : Buffer.allocUnsafe(room);
    const decoded = readHuffman(block, from, to, out);
    if (decoded < 0) throw broken('a string that is no Huffman code');
    return latin1(out, 0, decoded);
  }
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  // Up to here a loop in JavaScript is quicker than a call into the runtime's C++.
  if (to - from <= 16) {
    let text = '';
    for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]!);
    return text;
  }
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('latin1', from, to);
}

function broken(what: string): HpackError {
  return new HpackError('compression', `a broken header block: ${what}`);
}
