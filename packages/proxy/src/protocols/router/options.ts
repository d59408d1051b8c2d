import { formatUuid, parseUuid } from '../../wire/uuid.ts';
import type { Address } from '../../core/conn.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { filled, flag, optional, required, text, whole, wrongType } from '../../schema/read.ts';
import type { FromFields, Reader } from '../../schema/read.ts';

const hostAndPort = /^(?:\[([\da-f:.]+)\]|([^:[\]\s/]*)):(\d{1,5})$/i;

/** Where other nodes send packets. */
const entrypoint: Reader<Address> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined) return undefined;
  const match = hostAndPort.exec(written);
  const port = Number(match?.[3]);
  if (match !== null && port <= 65_535) return { host: match[1] ?? match[2] ?? '', port };
  return wrongType(value, path, reading, 'an address such as `"10.0.0.1:8421"`');
};

/** A UUID in any of GOST's spellings; answers the usual one. */
const uuid: Reader<string> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined) return undefined;
  const bytes = parseUuid(written);
  if (bytes !== undefined) return formatUuid(bytes);
  return wrongType(value, path, reading, 'a UUID such as `01234567-89ab-4def-8123-456789abcdef`');
};

const moduleName = filled(text('the name of a module'));

/** What `handler.metadata` may say. */
export const handlerFields = {
  /** From the first byte to the whole request. Default, and for 0: 15 s; GOST waits for ever. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** GOST cuts longer packets; here every packet is whole, and this changes nothing. */
  bufferSize: { ...optional(whole(0)), aliases: ['router.bufferSize'] },
  /** The UDP address at which other nodes deliver packets, and that `sd` is told. Absent: this node has no others. */
  entrypoint: optional(entrypoint),
  /** Says which router a gateway belongs to. Absent: a gateway may join any. */
  ingress: optional(moduleName),
  /** Where nodes find each other's gateways. */
  sd: optional(moduleName),
  /** Says which gateway a destination is behind, where no router is called as the UUID that is asked for. */
  router: optional(moduleName),
  /** Routes are kept with and without it: asking for each packet is what nobody wants. */
  routerCache: optional(flag(), 'router.cache'),
  /** How long a route, or that there is none, is kept. Default, and for 0: 1 s. */
  routerCacheExpirationMs: optional(metadataDurationMs(), 'router.cache.expiration'),
  /** How long it is kept at which nodes a gateway is. Default, and for 0: 1 s. */
  sdCacheExpirationMs: optional(metadataDurationMs(), 'sd.cache.expiration'),
  /** Default, and for less than a second: 15 s, as in GOST. */
  sdRenewIntervalMs: optional(metadataDurationMs(), 'sd.renewInterval'),
} as const;

/** What `connector.metadata` may say. */
export const connectorFields = {
  /** How long the node may take to answer. Default: as long as the dial may. */
  connectTimeoutMs: optional(metadataDurationMs(), 'connectTimeout'),
  /** The router that a gateway joins. GOST takes none for a UUID of zeros. */
  routerId: { ...required(uuid), key: 'router.id' },
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;
export type ConnectorMetadata = FromFields<typeof connectorFields>;

/** GOST's default of both caches. */
export const defaultKeptMs = 1000;

/** GOST's default, which it also takes for less than {@link minRenewMs}. */
export const defaultRenewMs = 15_000;
export const minRenewMs = 1000;
