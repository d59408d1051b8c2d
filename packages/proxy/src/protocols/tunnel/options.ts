import { muxFields } from '../../core/mux/options.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { filled, optional, text, whole, wrongType } from '../../schema/read.ts';
import type { Field, FromFields, Reader } from '../../schema/read.ts';
import { formatUuid, parseUuid } from '../../wire/uuid.ts';

/** What `connector.metadata` may say. */
export const connectorFields = {
  /** The tunnel. Default: a random one, of the same connector always the same. A visitor has to name it. */
  tunnelId: { ...optional(uuid(), 'tunnel.id'), aliases: ['tunnelID'] } satisfies Field<string, false>,
  /** How often this connector is chosen beside others of the tunnel; 255: as long as it is there, no other is. Default 1. */
  tunnelWeight: optional(whole(0, 255), 'tunnel.weight'),
  /** What the node is to record of the tunnel's requests: GOST knows `headers` and `off`. Default: all that it records. */
  recordMode: optional(filled(text()), 'record.mode'),
  /** How long the node may take to answer. Default: as long as the dial may. */
  connectTimeoutMs: optional(metadataDurationMs(), 'connectTimeout'),
  ...muxFields,
} as const;

export type ConnectorMetadata = Partial<FromFields<typeof connectorFields>>;

/** A UUID, in small letters with its dashes. The zero one is none, as in GOST. */
export function uuid(): Reader<string> {
  return (value, path, reading) => {
    const wanted = 'a UUID such as `4d21094e-b74c-4916-86c1-d9fa36ea677b`';
    if (value.kind !== 'scalar') return wrongType(value, path, reading, wanted);
    const bytes = parseUuid(value.text);
    if (bytes?.some((byte) => byte !== 0) === true) return formatUuid(bytes);
    const message = value.text.startsWith('$')
      ? 'the mark `$` belongs to the rule of an ingress that makes a tunnel private; here the UUID stands alone'
      : bytes === undefined
        ? `expected ${wanted}`
        : 'the UUID of zeros names no tunnel';
    reading.report.error(value.place, path, message);
    return undefined;
  };
}
