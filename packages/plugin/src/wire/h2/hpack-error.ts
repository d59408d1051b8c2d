/**
 * Why a header block could not be read.
 *
 * - `compression`: the block is broken. The tables of both sides no longer agree, so the connection is lost (RFC 9113,
 *   section 4.3: COMPRESSION_ERROR).
 * - `tooLarge`: the block is sound and was read to its end, so the tables still agree, but the list is larger than
 *   allowed. Only its stream is lost.
 */
export type HpackErrorCode = 'compression' | 'tooLarge';

/** The only error of the header compression. It stays below the connection, which turns it into an error of its own. */
export class HpackError extends Error {
  override readonly name = 'HpackError';
  readonly code: HpackErrorCode;

  constructor(code: HpackErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
