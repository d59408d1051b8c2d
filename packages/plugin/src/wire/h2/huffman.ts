// The code is canonical (RFC 7541, appendix B): within one length the codes rise with the symbol, and a longer code
// follows from the last shorter one. So the lengths alone give every code. Index 256 is EOS.
const codeLengths = Uint8Array.from([
  ...[13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28],
  ...[28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  ...[6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6],
  ...[5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  ...[13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
  ...[7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  ...[15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5],
  ...[6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  ...[20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23],
  ...[24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  ...[22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23],
  ...[21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  ...[26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25],
  ...[19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  ...[20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23],
  ...[26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
  30,
]);
const eos = 256;

const codes = canonicalCodes();

// The decoder is a machine that eats four bits at a time. A state is an inner node of the code's tree (there are 256 for
// 257 leaves); as no code is shorter than five bits, one step ends at most one symbol.
const transitions = new Int32Array(256 * 16); // bits 0 to 7: next state, 8 to 15: symbol, 16: symbol ended, 17: not a code
const mayEnd = new Uint8Array(256); // 1: the state is at most seven one bits away from the last symbol, that is padding
const symbolEnded = 0x1_0000;
const notACode = 0x2_0000;
buildMachine();

/** How many bytes a latin1 string takes when Huffman-coded. The string's characters must not be beyond U+00FF. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += codeLengths[text.charCodeAt(i)]!;
  return (bits + 7) >>> 3;
}

/**
 * Writes a latin1 string Huffman-coded (RFC 7541, section 5.2), padded with ones, and returns the offset behind it. The
 * buffer must have room for {@link huffmanLength} bytes.
 */
export function writeHuffman(text: string, out: Uint8Array, at: number): number {
  let pending = 0; // fewer than 8 bits between two symbols
  let bits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i);
    const code = codes[symbol]!;
    let length = codeLengths[symbol]!;
    // At most 7 + 24 bits fit into 32 with the sign bit unused, so a longer code is written in two parts.
    if (length > 24) {
      length -= 16;
      pending = (pending << length) | (code >>> 16);
      bits += length;
      while (bits >= 8) {
        bits -= 8;
        out[at++] = pending >>> bits;
      }
      pending &= (1 << bits) - 1;
      pending = (pending << 16) | (code & 0xffff);
      bits += 16;
    } else {
      pending = (pending << length) | code;
      bits += length;
    }
    while (bits >= 8) {
      bits -= 8;
      out[at++] = pending >>> bits;
    }
    pending &= (1 << bits) - 1;
  }
  if (bits > 0) out[at++] = (pending << (8 - bits)) | (0xff >>> bits);
  return at;
}

/**
 * Reads Huffman-coded bytes of `block` from `from` up to `to` into `out`, which must have room for {@link maxDecodedLength}
 * bytes, and returns how many were written. Returns -1 for what is not a code: EOS inside, more than seven bits of
 * padding, or padding that is not all ones (RFC 7541, section 5.2).
 */
export function readHuffman(block: Uint8Array, from: number, to: number, out: Uint8Array): number {
  let state = 0;
  let length = 0;
  for (let i = from; i < to; i++) {
    const byte = block[i]!;
    const high = transitions[(state << 4) | (byte >>> 4)]!;
    if ((high & symbolEnded) !== 0) out[length++] = high >>> 8;
    const low = transitions[((high & 0xff) << 4) | (byte & 15)]!;
    if ((low & symbolEnded) !== 0) out[length++] = low >>> 8;
    if (((high | low) & notACode) !== 0) return -1;
    state = low & 0xff;
  }
  return mayEnd[state] === 1 ? length : -1;
}

/** The most bytes that `codedBytes` Huffman-coded bytes can stand for: the shortest code has five bits. */
export function maxDecodedLength(codedBytes: number): number {
  return Math.floor((codedBytes * 8) / 5);
}

function canonicalCodes(): Uint32Array {
  const result = new Uint32Array(codeLengths.length);
  let next = 0;
  for (let length = 1; length <= 30; length++) {
    next *= 2;
    for (let symbol = 0; symbol < codeLengths.length; symbol++) {
      if (codeLengths[symbol] === length) result[symbol] = next++;
    }
  }
  return result;
}

function buildMachine(): void {
  // children[node * 2 + bit]: an inner node as its number, a leaf as -1 - symbol, 0 where nothing is yet (0 is the root).
  const children = new Int16Array(512);
  let nodes = 1;
  for (let symbol = 0; symbol < codeLengths.length; symbol++) {
    let node = 0;
    for (let bit = codeLengths[symbol]! - 1; bit >= 0; bit--) {
      const slot = node * 2 + ((codes[symbol]! >>> bit) & 1);
      if (bit === 0) children[slot] = -1 - symbol;
      else node = children[slot] ||= nodes++;
    }
  }

  for (let state = 0; state < nodes; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let result = 0;
      for (let bit = 3; bit >= 0 && (result & notACode) === 0; bit--) {
        const child = children[node * 2 + ((nibble >>> bit) & 1)]!;
        if (child === -1 - eos) result |= notACode;
        else if (child < 0) result |= symbolEnded | ((-1 - child) << 8);
        node = Math.max(child, 0);
      }
      transitions[state * 16 + nibble] = result | node;
    }
  }

  let padding = 0;
  for (let ones = 0; ones <= 7; ones++) {
    mayEnd[padding] = 1;
    padding = children[padding * 2 + 1]!;
  }
}
