/** What an entry costs beyond its name and value (RFC 7541, section 4.1; the same number counts in RFC 9113, section 6.5.2). */
export const entryOverheadBytes = 32;

/** The size of the dynamic table on both sides before anything was said about it (RFC 9113, section 6.5.2). */
export const initialTableBytes = 4096;

/**
 * The dynamic table of one direction (RFC 7541, section 2.3.2): a queue bounded in bytes. Entries are numbered from 0 as they
 * come; the newest is `added - 1`, the oldest still known is `evicted`.
 */
export class DynamicTable {
  #maxBytes: number;
  #bytes = 0;
  #added = 0;
  #evicted = 0;
  // Rings whose length is a power of two, so that a number finds its place by a mask; they grow up to what #maxBytes holds.
  #names: string[] = [];
  #values: string[] = [];
  #mask = -1;
  readonly #onEvict: ((name: string, value: string, number: number) => void) | undefined;

  /** `onEvict` is told of each entry that leaves, for whoever keeps an index of the entries. */
  constructor(maxBytes: number, onEvict?: (name: string, value: string, number: number) => void) {
    this.#maxBytes = maxBytes;
    this.#onEvict = onEvict;
  }

  /** The most bytes that the entries may take together. */
  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** What the entries take now, by the count of RFC 7541, section 4.1. */
  get bytes(): number {
    return this.#bytes;
  }

  get added(): number {
    return this.#added;
  }

  get evicted(): number {
    return this.#evicted;
  }

  name(number: number): string {
    return this.#names[number & this.#mask]!;
  }

  value(number: number): string {
    return this.#values[number & this.#mask]!;
  }

  /** Makes the table smaller, evicting, or larger (RFC 7541, section 4.3). */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
  }

  /** Adds an entry after evicting what it displaces; one larger than the table leaves the table empty (section 4.4). */
  add(name: string, value: string): void {
    const bytes = name.length + value.length + entryOverheadBytes;
    this.#evictTo(this.#maxBytes - bytes);
    if (bytes > this.#maxBytes) return;
    if (this.#added - this.#evicted > this.#mask) this.#grow();
    this.#names[this.#added & this.#mask] = name;
    this.#values[this.#added & this.#mask] = value;
    this.#added++;
    this.#bytes += bytes;
  }

  #evictTo(maxBytes: number): void {
    while (this.#bytes > maxBytes && this.#evicted < this.#added) {
      const number = this.#evicted++;
      const at = number & this.#mask;
      const name = this.#names[at]!;
      const value = this.#values[at]!;
      // The texts would otherwise be kept until the ring comes round.
      this.#names[at] = '';
      this.#values[at] = '';
      this.#bytes -= name.length + value.length + entryOverheadBytes;
      this.#onEvict?.(name, value, number);
    }
  }

  #grow(): void {
    const size = Math.max(16, (this.#mask + 1) * 2);
    const names = new Array<string>(size).fill('');
    const values = new Array<string>(size).fill('');
    for (let number = this.#evicted; number < this.#added; number++) {
      names[number & (size - 1)] = this.name(number);
      values[number & (size - 1)] = this.value(number);
    }
    this.#names = names;
    this.#values = values;
    this.#mask = size - 1;
  }
}
