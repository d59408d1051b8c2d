import { promisify } from 'node:util';
import zlib from 'node:zlib';

/** Encodes and decodes bodies of one content coding (RFC 9110, section 8.4.1). */
export interface Coding {
  /** Rejects where the bytes are not in this coding, or stand for more than `maxBytes`. */
  decode(bytes: Buffer, maxBytes: number): Promise<Buffer>;
  encode(bytes: Buffer): Promise<Buffer>;
}

const gunzip = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip);
const gzip = promisify<Buffer, Buffer>(zlib.gzip);
const inflate = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate);
const inflateRaw = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflateRaw);
const deflate = promisify<Buffer, Buffer>(zlib.deflate);
const unbrotli = promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress);
const brotli = promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliCompress);

const identity: Coding = {
  decode: (bytes) => Promise.resolve(bytes),
  encode: (bytes) => Promise.resolve(bytes),
};
const gzipCoding: Coding = {
  decode: (bytes, maxOutputLength) => gunzip(bytes, { maxOutputLength }),
  encode: gzip,
};

const codings: Readonly<Record<string, Coding>> = {
  '': identity,
  identity,
  gzip: gzipCoding,
  'x-gzip': gzipCoding,
  deflate: {
    async decode(bytes, maxOutputLength) {
      // What is called `deflate` is zlib's format; some send it without its frame.
      const framed = bytes.length >= 2 && (bytes[0]! & 15) === 8 && bytes.readUInt16BE(0) % 31 === 0;
      return framed ? inflate(bytes, { maxOutputLength }) : inflateRaw(bytes, { maxOutputLength });
    },
    encode: deflate,
  },
  br: {
    decode: (bytes, maxOutputLength) => unbrotli(bytes, { maxOutputLength }),
    // The best quality takes seconds for a megabyte; this is about what gzip costs.
    encode: (bytes) => brotli(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } }),
  },
};

/** The coding that a `Content-Encoding` names; undefined for one that is not known, and for several on top of each other. */
export function codingOf(contentEncoding: string): Coding | undefined {
  return codings[contentEncoding.trim().toLowerCase()];
}
