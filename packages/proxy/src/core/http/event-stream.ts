import type { JsonObject } from '@sallyport/plugin';
import type { EventStream } from './rewrite-body.ts';

/** How the events of a stream are rewritten. */
export interface EventStreamOptions {
  /** A longer event passes unchanged, as it comes. */
  readonly maxEventBytes: number;
  /** Rewrites one event, or at the end the nothing that is left. Rejects with ProxyError. */
  apply(event: Buffer, metadata: JsonObject): Promise<Buffer>;
}

const newline = 0x0a;
const carriageReturn = 0x0d;
const blankLine = Buffer.from('\n\n');

/**
 * Rewrites a stream of events (`text/event-stream`, HTML's standard, section 9.2.6) one by one, with what GOST's rewriters are
 * told of each: `sse_phase` is `start` for the first, then `event`, and `end` once for what comes after the last, when there
 * is no data; `event_index` counts. An event comes without its blank line and gets one back; one that becomes empty is gone.
 */
export function createEventStream({ maxEventBytes, apply }: EventStreamOptions): EventStream {
  let held: Buffer = Buffer.alloc(0);
  let index = 0;
  /** True in the middle of an event that is too long: its bytes go on as they come. */
  let passing = false;

  const rewritten = async (event: Buffer, end: Buffer): Promise<readonly Buffer[]> => {
    const phase = index === 0 ? 'start' : 'event';
    const out = await apply(event, { sse_phase: phase, event_index: index });
    index++;
    if (out.length === 0) return [];
    return [out, endsInBlankLine(out) ? Buffer.alloc(0) : end];
  };

  return {
    async push(parts) {
      const out: Buffer[] = [];
      // A blank line may have begun in what was looked at before.
      let start = Math.max(0, held.length - 3);
      held = Buffer.concat([held, ...parts]);
      for (let end = findBlankLine(held, start); end !== undefined; end = findBlankLine(held, start)) {
        start = 0;
        const event = held.subarray(0, end.from);
        const blank = held.subarray(end.from, end.to);
        held = held.subarray(end.to);
        if (passing) {
          out.push(event, blank);
          passing = false;
          index++;
        } else if (event.length > maxEventBytes) {
          out.push(event, blank);
          index++;
        } else if (event.length > 0) out.push(...(await rewritten(event, blank)));
      }
      // The last bytes may be the beginning of a blank line.
      if ((passing || held.length > maxEventBytes) && held.length > 4) {
        out.push(held.subarray(0, held.length - 4));
        held = Buffer.from(held.subarray(held.length - 4));
        passing = true;
      }
      return Buffer.concat(out);
    },
    async end(error) {
      const out: Buffer[] = [];
      if (passing) {
        out.push(held);
        index++;
      } else if (held.length > 0 && error === undefined) out.push(...(await rewritten(held, blankLine)));
      held = Buffer.alloc(0);
      const last = await apply(held, {
        sse_phase: 'end',
        event_index: index,
        ...(error !== undefined && { stream_error: error }),
      });
      if (last.length > 0) out.push(last, ...(endsInBlankLine(last) ? [] : [blankLine]));
      return Buffer.concat(out);
    },
  };
}

function endsInBlankLine(bytes: Buffer): boolean {
  return (
    bytes.at(-1) === newline &&
    (bytes.at(-2) === newline || bytes.subarray(-4).toString('latin1') === '\r\n\r\n')
  );
}

/** Two line ends in a row, each CRLF, LF or CR, from `start` on. `from` is where the first one begins. */
function findBlankLine(
  bytes: Buffer,
  start: number,
): { readonly from: number; readonly to: number } | undefined {
  for (let at = start; at < bytes.length; at++) {
    const first = lineEndAt(bytes, at);
    if (first === 0) continue;
    if (first === undefined) return undefined;
    const second = lineEndAt(bytes, at + first);
    if (second === undefined) return undefined;
    if (second > 0) return { from: at, to: at + first + second };
    at += first - 1;
  }
  return undefined;
}

/** How many bytes the line end has that begins here; 0: none does; undefined: the next bytes decide. */
function lineEndAt(bytes: Buffer, at: number): number | undefined {
  const byte = bytes[at];
  if (byte === undefined) return undefined;
  if (byte === newline) return 1;
  if (byte !== carriageReturn) return 0;
  if (at + 1 >= bytes.length) return undefined;
  return bytes[at + 1] === newline ? 2 : 1;
}
