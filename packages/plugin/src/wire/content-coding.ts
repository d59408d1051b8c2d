import { gunzipSync, inflateRawSync, inflateSync } from 'node:zlib';
import { PluginError } from '../errors.ts';

/**
 * Undoes a `Content-Encoding` of a whole body: gzip and deflate, one or none. `deflate` is zlib's format (RFC 9110,
 * section 8.4.1.2) and also the bare one that some servers send. What comes out is at most `maxBytes` long, so that a
 * small body cannot become a large one. Throws PluginError `badReply`. A body of this size is decoded at once: handing it
 * to another thread costs more than the work.
 */
export function decodeContent(body: Buffer, coding: string, maxBytes: number): Buffer {
  const options = { maxOutputLength: maxBytes };
  try {
    switch (coding.toLowerCase()) {
      case '':
      case 'identity':
        return body;
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(body, options);
      case 'deflate':
        // Section 2.2 of RFC 1950: the method's number is in the low bits of a zlib header's first byte.
        return (body[0]! & 0x0f) === 8 ? inflateSync(body, options) : inflateRawSync(body, options);
      default:
        throw new PluginError(
          'badReply',
          `the answer is encoded as ${JSON.stringify(coding)}, not as gzip or plain`,
        );
    }
  } catch (error) {
    if (error instanceof PluginError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new PluginError('badReply', `the answer is larger than ${maxBytes} bytes when decoded`, {
        cause: error,
      });
    }
    const why = error instanceof Error ? error.message : String(error);
    throw new PluginError('badReply', `the answer's ${coding} encoding is broken: ${why}`, { cause: error });
  }
}
