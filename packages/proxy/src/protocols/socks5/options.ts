import { isIP } from 'node:net';
import { muxFields } from '../../core/mux/options.ts';
import { checked } from '../../schema/checked.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional, whole, word } from '../../schema/read.ts';
import type { Field, FromFields } from '../../schema/read.ts';

const ipAddress = checked('an IP address', (text) => {
  if (isIP(text) === 0) throw new Error('is no IP address');
});

/** What `handler.metadata` may say. */
export const handlerFields = {
  /** From the first byte to the whole request; GOST's default, 15 s, counts for 0 as well. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** True: TLS within SOCKS5 is not offered. */
  notls: optional(flag()),
  /** True: datagrams are served. Default false, as in GOST. */
  udp: optional(flag()),
  /** True: BIND, MUX-BIND and UDP-TUN at a port are served: sockets of this machine for clients. Default false, as in GOST. */
  bind: optional(flag()),
  /** True: visitors of MUX-BIND come without a word of who they are, as clients of GOST 2 expect. Default false. */
  comp: optional(flag()),
  /** The address that clients are told to send datagrams to, and others to connect to, where it is another than that of the connection. */
  publicAddr: { read: ipAddress, required: false, aliases: ['socks.publicAddr'] } satisfies Field<
    string,
    false
  >,
  /** The ports for clients' datagrams. Default: the system chooses. */
  udpMinPort: {
    read: whole(1, 65535),
    required: false,
    key: 'udp.bindRange.min',
    aliases: ['udp.minPort'],
  } satisfies Field<number, false>,
  udpMaxPort: {
    read: whole(1, 65535),
    required: false,
    key: 'udp.bindRange.max',
    aliases: ['udp.maxPort'],
  } satisfies Field<number, false>,
  /** GOST cuts longer datagrams; here every datagram is whole, and this changes nothing. */
  udpBufferSize: {
    read: whole(0),
    required: false,
    key: 'udp.bufferSize',
    aliases: ['udpBufferSize'],
  } satisfies Field<number, false>,
  /** True: what goes through is looked into and asked about, request by request. Default false. */
  sniffing: optional(flag()),
  /** How long the beginning of something may take before it is something else. */
  sniffingTimeoutMs: optional(metadataDurationMs(), 'sniffing.timeout'),
  /** Of the mux by which visitors of MUX-BIND come to the client; smux of version 1 unless it says otherwise, as in GOST. */
  ...muxFields,
} as const;

/** What `connector.metadata` may say. */
export const connectorFields = {
  /** True: TLS within SOCKS5 is not offered to the node. */
  notls: optional(flag()),
  /** `udp`: datagrams go by UDP (RFC 1928). Default: through the connection, as GOST does. */
  relay: optional(word('way for datagrams', ['udp', 'tcp'])),
  /** As in the handler: it changes nothing. */
  udpBufferSize: handlerFields.udpBufferSize,
  /** As of the handler. */
  ...muxFields,
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;
export type ConnectorMetadata = Partial<FromFields<typeof connectorFields>>;

export const defaultReadTimeoutMs = 15_000;
