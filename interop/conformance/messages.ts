// The messages of the public conformance runner (connectrpc.conformance.v1) as tables for our own codec: only the fields that
// a unary client and server need. A message that is only passed on is declared as bytes, which is the same on the wire.
import type { Field, MessageType, RawHeaders } from '@sallyport/plugin/wire';

const field = (number: number, name: string, type: Field['type'], repeated = false): Field => {
  return { number, name, type, repeated };
};

const table = <T extends object>(typeName: string, ...fields: Field[]): MessageType<T> => ({
  typeName: `connectrpc.conformance.v1.${typeName}`,
  fields,
});

export interface Header {
  name: string;
  value: string[];
}
const Header = table<Header>('Header', field(1, 'name', 'string'), field(2, 'value', 'string', true));

/** google.protobuf.Any */
export interface Any {
  typeUrl: string;
  value: Uint8Array;
}
const Any = table<Any>('Any', field(1, 'typeUrl', 'string'), field(2, 'value', 'bytes'));

/** The runner's Error and google.rpc.Status have the same three fields. */
export interface Status {
  code: number;
  message: string;
  details: Any[];
}
export const Status = table<Status>(
  'Error',
  field(1, 'code', 'int32'),
  field(2, 'message', 'string'),
  field(3, 'details', Any, true),
);

interface TlsCreds {
  cert: Uint8Array;
  key: Uint8Array;
}
const TlsCreds = table<TlsCreds>('TLSCreds', field(1, 'cert', 'bytes'), field(2, 'key', 'bytes'));

interface Cancel {
  afterCloseSendMs: number;
}

/** One call for the client under test. */
export interface ClientCompatRequest {
  testName: string;
  compression: number;
  host: string;
  port: number;
  serverTlsCert: Uint8Array;
  clientTlsCreds: TlsCreds | undefined;
  messageReceiveLimit: number;
  service: string;
  method: string;
  requestHeaders: Header[];
  requestMessages: Any[];
  timeoutMs: number;
  cancel: Cancel | undefined;
}
export const ClientCompatRequest = table<ClientCompatRequest>(
  'ClientCompatRequest',
  field(1, 'testName', 'string'),
  field(5, 'compression', 'int32'),
  field(6, 'host', 'string'),
  field(7, 'port', 'int32'),
  field(8, 'serverTlsCert', 'bytes'),
  field(9, 'clientTlsCreds', TlsCreds),
  field(10, 'messageReceiveLimit', 'int32'),
  field(11, 'service', 'string'),
  field(12, 'method', 'string'),
  field(15, 'requestHeaders', Header, true),
  field(16, 'requestMessages', Any, true),
  field(17, 'timeoutMs', 'int32'),
  field(19, 'cancel', table<Cancel>('Cancel', field(2, 'afterCloseSendMs', 'int32'))),
);

/** What became of a call. */
export interface ClientResponseResult {
  responseHeaders: Header[];
  /** Each a ConformancePayload, as it came. */
  payloads: Uint8Array[];
  error: Status | undefined;
  responseTrailers: Header[];
}
const ClientResponseResult = table<ClientResponseResult>(
  'ClientResponseResult',
  field(1, 'responseHeaders', Header, true),
  field(2, 'payloads', 'bytes', true),
  field(3, 'error', Status),
  field(4, 'responseTrailers', Header, true),
);

interface ClientErrorResult {
  message: string;
}

export interface ClientCompatResponse {
  testName: string;
  response: ClientResponseResult | undefined;
  /** The call could not even be tried. */
  error: ClientErrorResult | undefined;
}
export const ClientCompatResponse = table<ClientCompatResponse>(
  'ClientCompatResponse',
  field(1, 'testName', 'string'),
  field(2, 'response', ClientResponseResult),
  field(3, 'error', table<ClientErrorResult>('ClientErrorResult', field(1, 'message', 'string'))),
);

/** How the server under test shall listen. */
export interface ServerCompatRequest {
  useTls: boolean;
  clientTlsCert: Uint8Array;
  messageReceiveLimit: number;
  serverCreds: TlsCreds | undefined;
}
export const ServerCompatRequest = table<ServerCompatRequest>(
  'ServerCompatRequest',
  field(4, 'useTls', 'bool'),
  field(5, 'clientTlsCert', 'bytes'),
  field(6, 'messageReceiveLimit', 'int32'),
  field(7, 'serverCreds', TlsCreds),
);

export interface ServerCompatResponse {
  host: string;
  port: number;
  pemCert: Uint8Array;
}
export const ServerCompatResponse = table<ServerCompatResponse>(
  'ServerCompatResponse',
  field(1, 'host', 'string'),
  field(2, 'port', 'int32'),
  field(3, 'pemCert', 'bytes'),
);

interface UnaryResponseDefinition {
  responseHeaders: Header[];
  responseData: Uint8Array;
  error: Status | undefined;
  responseTrailers: Header[];
  responseDelayMs: number;
}

/** UnaryRequest and IdempotentUnaryRequest. */
export interface UnaryRequest {
  responseDefinition: UnaryResponseDefinition | undefined;
}
export const UnaryRequest = table<UnaryRequest>(
  'UnaryRequest',
  field(
    1,
    'responseDefinition',
    table<UnaryResponseDefinition>(
      'UnaryResponseDefinition',
      field(1, 'responseHeaders', Header, true),
      field(2, 'responseData', 'bytes'),
      field(3, 'error', Status),
      field(4, 'responseTrailers', Header, true),
      field(6, 'responseDelayMs', 'int32'),
    ),
  ),
);

/** What the server saw of a request. */
export interface RequestInfo {
  requestHeaders: Header[];
  timeoutMs: number;
  requests: Any[];
}
export const RequestInfo = table<RequestInfo>(
  'ConformancePayload.RequestInfo',
  field(1, 'requestHeaders', Header, true),
  field(2, 'timeoutMs', 'int64'),
  field(3, 'requests', Any, true),
);

interface ConformancePayload {
  data: Uint8Array;
  requestInfo: RequestInfo | undefined;
}

/** UnaryResponse and IdempotentUnaryResponse, for a server. */
export interface UnaryResponse {
  payload: ConformancePayload;
}
export const UnaryResponse = table<UnaryResponse>(
  'UnaryResponse',
  field(
    1,
    'payload',
    table<ConformancePayload>(
      'ConformancePayload',
      field(1, 'data', 'bytes'),
      field(2, 'requestInfo', RequestInfo),
    ),
  ),
);

/** The same reply for a client, which passes the payload on as it came. */
export interface PassedResponse {
  payload: Uint8Array;
}
export const PassedResponse = table<PassedResponse>('UnaryResponse', field(1, 'payload', 'bytes'));

/** Flat headers, grouped by name as the runner wants them. */
export function toHeaders(flat: RawHeaders): Header[] {
  const byName = new Map<string, string[]>();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    byName.set(flat[i]!, [...(byName.get(flat[i]!) ?? []), flat[i + 1]!]);
  }
  return [...byName].map(([name, value]) => ({ name, value }));
}

/** The reverse of {@link toHeaders}. Names of metadata are lower case. */
export function fromHeaders(headers: readonly Header[]): string[] {
  return headers.flatMap(({ name, value }) => value.flatMap((one) => [name.toLowerCase(), one]));
}
