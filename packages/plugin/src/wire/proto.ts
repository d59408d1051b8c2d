export { encodeMessage } from './proto-encode.ts';
export { decodeMessage, nilBytes } from './proto-decode.ts';

/** The scalar types that GOST's messages use. `bytes` are Buffers; integers are exact, see {@link Int64}. */
export type Scalar = 'string' | 'bool' | 'bytes' | 'int64' | 'uint64' | 'int32';

/** One field of a message, as its .proto declares it. */
export interface Field {
  readonly number: number;
  /** The JSON and TypeScript name: the proto name in lowerCamelCase, which is GOST's JSON key. */
  readonly name: string;
  readonly type: Scalar | MessageType<object>;
  readonly repeated: boolean;
}

/**
 * A message's table. Decoded messages always have every field: proto3's zero value where the wire had none, which is
 * `undefined` for a message inside a message and {@link nilBytes} for bytes.
 */
export interface MessageType<T extends object> {
  /** `proto.AuthenticateRequest` */
  readonly typeName: string;
  readonly fields: readonly Field[];
  /** Only for the type checker. */
  readonly _type?: T;
}
