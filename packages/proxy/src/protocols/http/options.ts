import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional, text, whole } from '../../schema/read.ts';
import type { Field, FromFields, Reader } from '../../schema/read.ts';
import { texts } from '../../schema/texts.ts';
import { probeResist } from './probe-resist.ts';

/** A header field's value as a file may give it. */
const fieldValue: Reader<string> = (value, path, reading) => {
  const written = text('a text without line ends')(value, path, reading);
  if (written === undefined || !/[^\t\x20-\x7e\x80-\xff]/.test(written)) return written;
  reading.report.error(value.place, path, 'holds a character that a header field cannot hold');
  return undefined;
};

/** Header fields as a file may give them. */
const headerFields: Reader<readonly (readonly [name: string, value: string])[]> = (value, path, reading) => {
  const found = texts()(value, path, reading);
  for (const [name, written] of found ?? []) {
    if (/^[\w!#$%&'*+.^`|~-]+$/.test(name) && !/[^\t\x20-\x7e\x80-\xff]/.test(written)) continue;
    reading.report.error(value.place, `${path}.${name}`, 'is no header field');
  }
  return found;
};

/** A switch that stands at `false` here. */
const off: Reader<boolean> = (value, path, reading) => {
  const written = flag()(value, path, reading);
  if (written === true) reading.report.error(value.place, path, 'is not served by this version');
  return written;
};

/** What `handler.metadata` may say. */
export const handlerFields = {
  /** How long an origin may take to begin its answer. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** Ends what is idle: a connection between two requests, and a tunnel. */
  idleTimeoutMs: optional(metadataDurationMs(), 'idleTimeout'),
  /** Fields of CONNECT's answer, and of every answer of our own. */
  header: { ...optional(headerFields, 'http.header'), aliases: ['header'] },
  /** False: one request a connection, on both sides. */
  keepalive: { ...optional(flag(), 'http.keepalive'), aliases: ['keepalive'] },
  /** Says who we are. Default: nothing does. */
  proxyAgent: optional(fieldValue),
  /** Default `sallyport`. */
  authBasicRealm: optional(fieldValue),
  /** What strangers are shown in place of a proxy that wants credentials. */
  probeResist: { ...optional(probeResist), aliases: ['probeResistance', 'probe_resist'] },
  /** The host that a browser is told about credentials for all the same, where `probeResist` is set. */
  knock: optional(text()),
  /** Answers pass in the coding that they come in; only `false` is served. */
  compression: { ...optional(off, 'http.compression'), aliases: ['compression'] },
  /** True: datagrams are carried (`X-Gost-Protocol: udp`). Default false, as in GOST. */
  udp: optional(flag()),
  /** GOST cuts longer datagrams; here every datagram is whole, and this changes nothing. */
  udpBufferSize: {
    read: whole(0),
    required: false,
    key: 'udp.bufferSize',
    aliases: ['udpBufferSize'],
  } satisfies Field<number, false>,
  /** True: what goes through a tunnel is looked into and asked about. */
  sniffing: optional(flag()),
  /** How long the beginning of something may take before it is something else. Default 15 s, as GOST has for a head. */
  sniffingTimeoutMs: optional(metadataDurationMs(), 'sniffing.timeout'),
} as const;

/** What `connector.metadata` may say. */
export const connectorFields = {
  /** How long the node may take to answer. Default: as long as there is for the whole dial. */
  timeoutMs: optional(metadataDurationMs(), 'timeout'),
  /** Further fields of the request. */
  header: { ...optional(headerFields, 'header'), aliases: ['http.header'] },
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;
export type ConnectorMetadata = Partial<FromFields<typeof connectorFields>>;
