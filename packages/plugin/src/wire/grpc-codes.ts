import type { PluginErrorCode } from '../errors.ts';
import { grpcStatus } from './grpc.ts';
import { h2Code } from './h2/codes.ts';

/** The outcome that a gRPC status of a server stands for; see {@link PluginErrorCode}. */
export function pluginErrorCodeOf(status: number): PluginErrorCode {
  switch (status) {
    case grpcStatus.deadlineExceeded:
      return 'timeout';
    case grpcStatus.unavailable:
      return 'unreachable';
    case grpcStatus.resourceExhausted:
      return 'overloaded';
    case grpcStatus.unauthenticated:
    case grpcStatus.permissionDenied:
      return 'unauthenticated';
    default:
      return 'internal';
  }
}

/** The gRPC status for an answer whose HTTP status is not 200 (gRPC's document "HTTP to gRPC Status Code Mapping"). */
export function grpcStatusOfHttp(status: number): number {
  switch (status) {
    case 400:
      return grpcStatus.internal;
    case 401:
      return grpcStatus.unauthenticated;
    case 403:
      return grpcStatus.permissionDenied;
    case 404:
      return grpcStatus.unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return grpcStatus.unavailable;
    default:
      return grpcStatus.unknown;
  }
}

/** The gRPC status for a stream that was reset (gRPC's document "gRPC over HTTP2", errors). */
export function grpcStatusOfReset(code: number): number {
  switch (code) {
    case h2Code.refusedStream:
      return grpcStatus.unavailable;
    case h2Code.cancel:
      return grpcStatus.cancelled;
    case h2Code.enhanceYourCalm:
      return grpcStatus.resourceExhausted;
    case h2Code.inadequateSecurity:
      return grpcStatus.permissionDenied;
    default:
      return grpcStatus.internal;
  }
}

const statusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

/** The name of a gRPC status number. */
export function grpcStatusName(status: number): string {
  return statusNames[status] ?? `status ${status}`;
}

/** Reads `grpc-status`. Undefined for what is no number; a number that nobody knows is UNKNOWN. */
export function parseGrpcStatus(value: string): number | undefined {
  if (!/^\d{1,9}$/.test(value)) return undefined;
  const status = Number(value);
  return status < statusNames.length ? status : grpcStatus.unknown;
}

/** Decodes `grpc-message`: percent-encoded UTF-8. What is not an escape stays as it is, and so does broken UTF-8. */
export function decodeGrpcMessage(value: string): string {
  // A header's characters are bytes; a server that sends UTF-8 unescaped is understood too.
  const bytes = Buffer.from(value, 'latin1');
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const code = bytes[i]! === 0x25 ? Number.parseInt(value.slice(i + 1, i + 3), 16) : Number.NaN;
    if (Number.isNaN(code) || !/^[0-9a-fA-F]{2}$/.test(value.slice(i + 1, i + 3))) {
      bytes[length++] = bytes[i]!;
    } else {
      bytes[length++] = code;
      i += 2;
    }
  }
  return bytes.toString('utf8', 0, length);
}

/** Encodes a text for `grpc-message`: printable ASCII without `%` stays, all other bytes of its UTF-8 are escaped. */
export function encodeGrpcMessage(text: string): string {
  if (/^[\x20-\x24\x26-\x7e]*$/.test(text) && text.trim() === text) return text;
  let result = '';
  const bytes = Buffer.from(text, 'utf8');
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    const isBlankEnd = byte === 0x20 && (i === 0 || i === bytes.length - 1);
    if (byte >= 0x20 && byte <= 0x7e && byte !== 0x25 && !isBlankEnd) result += String.fromCharCode(byte);
    else result += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return result;
}

const maxTimeoutNumber = 99_999_999;

/** Writes milliseconds for `grpc-timeout`, which has at most eight digits. Never more than what is left, but at least 1 ms. */
export function formatGrpcTimeout(timeoutMs: number): string {
  const ms = Math.max(1, Math.floor(timeoutMs));
  if (ms <= maxTimeoutNumber) return `${ms}m`;
  const seconds = Math.floor(ms / 1000);
  return seconds <= maxTimeoutNumber ? `${seconds}S` : `${maxTimeoutNumber}S`;
}

const unitMs: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Reads `grpc-timeout` as milliseconds; undefined for what is no timeout. */
export function parseGrpcTimeout(value: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(value);
  return match === null ? undefined : Number(match[1]) * unitMs[match[2]!]!;
}

/** Says what is wrong with metadata to be sent, or undefined. Values of `-bin` names must be base64 already. */
export function findMetadataError(metadata: readonly string[]): string | undefined {
  if (metadata.length % 2 !== 0) return 'a name without a value';
  for (let i = 0; i < metadata.length; i += 2) {
    const name = metadata[i]!;
    if (!/^[0-9a-z_.-]+$/.test(name))
      return `the name ${JSON.stringify(name)} has a character that is not allowed`;
    if (!/^[\x20-\x7e]*$/.test(metadata[i + 1]!))
      return `the value of ${name} has a character that is not allowed`;
  }
  return undefined;
}
