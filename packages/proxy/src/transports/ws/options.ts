import { validateHeaderName, validateHeaderValue } from 'node:http';
import { parseIp, parseNetwork } from '../../core/match/ip.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { filled, flag, list, optional, text, whole, wrongType } from '../../schema/read.ts';
import type { Fields, FromFields, Located, Reader } from '../../schema/read.ts';

/** GOST's, on both sides. */
export const defaultPath = '/ws';

/** A header to send: its name and its value. */
export type Header = readonly [name: string, value: string];

/** What the handshake itself is made of, so that a file has no say in it. */
const ownHeaders = /^(connection|upgrade|sec-websocket-.*|content-length|transfer-encoding)$/i;

/** A mapping of header names to values. Values may be credentials and are never shown. */
const headers: Reader<readonly Header[]> = (value, path, reading) => {
  if (value.kind !== 'mapping') return wrongType(value, path, reading, 'a mapping of header names to values');
  const result: Header[] = [];
  for (const { key, place, value: written } of value.entries) {
    const error = (message: string) => reading.report.error(place, `${path}.${key}`, message);
    const sent = text('a header value', true)(written, `${path}.${key}`, reading);
    if (sent === undefined) continue;
    try {
      validateHeaderName(key);
      validateHeaderValue(key, sent);
    } catch {
      // Node's message quotes the value.
      error('is no header that can be sent');
      continue;
    }
    if (ownHeaders.test(key)) error('belongs to the WebSocket handshake itself and cannot be set');
    else result.push([key, sent]);
  }
  return result;
};

const pathReader: Reader<string> = (value, path, reading) => {
  const written = filled(text('a path'))(value, path, reading);
  if (written === undefined || /^\/[\x21\x22\x24-\x7e]*$/.test(written)) return written;
  return wrongType(value, path, reading, 'a path such as `/ws`, which begins with a slash');
};

const hostHeader: Reader<string> = (value, path, reading) => {
  const written = filled(text('a host'))(value, path, reading);
  if (written === undefined || /^(\[[\da-f:.]+\]|[^\s:/?#@[\]\\]+)(:\d{1,5})?$/i.test(written))
    return written;
  return wrongType(value, path, reading, 'a host, with a port if need be');
};

/** Addresses and networks, each as the file has it; one text may hold several, separated by commas. */
const networks: Reader<readonly string[]> = (value, path, reading) => {
  const written = list(text('an address or a network'))(value, path, reading);
  const each = written?.flatMap((one) => one.split(',')).map((one) => one.trim());
  for (const one of each ?? []) {
    if (parseIp(one) === undefined && parseNetwork(one) === undefined)
      reading.report.error(value.place, path, 'expected IP addresses or networks such as `10.0.0.0/8`');
  }
  return each;
};

/** What both sides read. GOST's buffer sizes are taken and of no effect: Node has its own. */
const both = {
  requestPath: { ...optional(pathReader, 'path'), aliases: ['ws.path'] },
  header: { ...optional(headers), aliases: ['ws.header'] },
  handshakeTimeoutMs: {
    ...optional(metadataDurationMs(), 'handshakeTimeout'),
    aliases: ['ws.handshakeTimeout'],
  },
  readHeaderTimeoutMs: {
    ...optional(metadataDurationMs(), 'readHeaderTimeout'),
    aliases: ['ws.readHeaderTimeout'],
  },
  enableCompression: { ...optional(flag()), aliases: ['ws.enableCompression'] },
  readBufferSize: { ...optional(whole(0)), aliases: ['ws.readBufferSize'] },
  writeBufferSize: { ...optional(whole(0)), aliases: ['ws.writeBufferSize'] },
} as const satisfies Fields;

/** The keys of a WebSocket listener: GOST's, and `trustedProxies`. */
export const wsListenerFields = {
  ...both,
  backlog: { ...optional(whole(0)), aliases: ['ws.backlog'] },
  trustedProxies: optional(networks),
} as const satisfies Fields;

/**
 * The keys of a WebSocket dialer. Its `keepalive` is a ping; that of the TCP connection beneath is `tcp.keepalive`, as in
 * GOST.
 */
export const wsDialerFields = {
  ...both,
  host: { ...optional(hostHeader), aliases: ['ws.host'] },
  ping: { ...optional(flag(), 'keepalive'), aliases: ['ws.keepalive'] },
  pingMs: { ...optional(metadataDurationMs(), 'ttl'), aliases: ['keepalive.interval'] },
} as const satisfies Fields;

/** What a listener is told. Handshake: 10 s; path: `/ws`; backlog: handshakes under way at once, 4,096; nobody is trusted. */
export type WsListenerOptions = Partial<Omit<FromFields<typeof wsListenerFields>, keyof Located>>;

/** What a dialer is told. `ping` is off by default, and every 15 s where it is on. */
export type WsDialerOptions = Partial<Omit<FromFields<typeof wsDialerFields>, keyof Located>>;

/** What both ends tell the WebSocket library. */
export function libraryOptions({ enableCompression = false }: { enableCompression?: boolean }) {
  return {
    /**
     * A message is held as a whole, so that this bounds the memory of a connection. GOST and we write at most 64 KiB; it
     * is also what a compressed message may grow to.
     */
    maxPayload: 1024 * 1024,
    maxFragments: 1024,
    /** Text frames count as bytes, as in GOST. */
    skipUTF8Validation: true,
    /** The other direction may go on for long after ours has ended; whoever relays ends what is idle. */
    closeTimeout: 2 ** 31 - 1,
    // What Go's library agrees to, and nothing else: no memory of earlier messages in either direction.
    perMessageDeflate: enableCompression && { serverNoContextTakeover: true, clientNoContextTakeover: true },
  };
}
