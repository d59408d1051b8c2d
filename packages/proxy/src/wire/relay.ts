import { malformed, unsayable } from './fault.ts';
import type { WireSide } from './fault.ts';
import { formatRelayFeature, parseRelayFeatures } from './relay-features.ts';
import type { RelayFeature } from './relay-features.ts';
import type { Parsed } from './wire-reader.ts';

/** What a client of GOST's relay protocol may ask for. GOST takes 0 for `connect`. */
export const relayCommands = { connect: 1, bind: 2, associate: 3 } as const;

/** GOST's flag of a request that is about datagrams. The network feature says the same, and GOST sends both. */
export const relayUdpFlag = 0x80;

/** What a server may answer. */
export const relayStatus = {
  ok: 0,
  badRequest: 1,
  unauthorized: 2,
  forbidden: 3,
  timeout: 4,
  serviceUnavailable: 5,
  hostUnreachable: 6,
  networkUnreachable: 7,
  internalError: 8,
} as const;

const version = 1;
const headBytes = 4;
const maxFeaturesBytes = 0xffff;
const maxDataBytes = 0xffff;

/** The longest request or answer, in bytes. */
export const maxRelayMessageBytes = headBytes + maxFeaturesBytes;

/** A request: a command of {@link relayCommands} or another number up to 15, and what more the client says. */
export interface RelayRequest {
  readonly command: number;
  /** The upper four bits: {@link relayUdpFlag}, and others that nothing is known of. */
  readonly flags: number;
  readonly features: readonly RelayFeature[];
}

/** An answer: a status of {@link relayStatus} or another number, and what more the server says. */
export interface RelayResponse {
  readonly status: number;
  readonly features: readonly RelayFeature[];
}

/**
 * Reads a request (version 1 of GOST's relay protocol): version, command and flags, the length of the features, the features.
 * At most {@link maxRelayMessageBytes}. The command is not judged. Throws `malformedRequest`, and `unsupported` for a kind of
 * address that is not known.
 */
export function parseRelayRequest(bytes: Buffer): Parsed<RelayRequest> | undefined {
  const parsed = parseMessage(bytes, 'client');
  if (parsed === undefined) return undefined;
  const { second, features, length } = parsed;
  return { message: { command: second & 0x0f, flags: second & 0xf0, features }, length };
}

/** Writes what {@link parseRelayRequest} reads. Throws `unsupported` for what it has no room for. */
export function formatRelayRequest({ command, flags, features }: RelayRequest): Buffer {
  if (!Number.isInteger(command) || command < 0 || command > 15) {
    throw unsayable(`${String(command)} is no command of the relay protocol`);
  }
  return formatMessage(command | (flags & 0xf0), features);
}

/** Reads an answer, which has a status in place of the command. At most as long as a request. Throws `badUpstreamReply`. */
export function parseRelayResponse(bytes: Buffer): Parsed<RelayResponse> | undefined {
  const parsed = parseMessage(bytes, 'upstream');
  if (parsed === undefined) return undefined;
  const { second: status, features, length } = parsed;
  return { message: { status, features }, length };
}

/** Writes what {@link parseRelayResponse} reads. Throws `unsupported` for what it has no room for. */
export function formatRelayResponse(status: number, features: readonly RelayFeature[] = []): Buffer {
  if (!Number.isInteger(status) || status < 0 || status > 255) {
    throw unsayable(`${String(status)} is no status of the relay protocol`);
  }
  return formatMessage(status, features);
}

/**
 * Reads one datagram of a connection that carries those of one target: its length in two bytes, then the datagram, which may
 * be empty. At most 65,537 bytes. Every beginning is one, so it never throws.
 */
export function parseRelayDatagram(bytes: Buffer): Parsed<Buffer> | undefined {
  if (bytes.length < 2) return undefined;
  const length = 2 + bytes.readUInt16BE(0);
  return bytes.length < length ? undefined : { message: bytes.subarray(2, length), length };
}

/** Writes what {@link parseRelayDatagram} reads. Throws `unsupported` for more than 65,535 bytes. */
export function formatRelayDatagram(data: Uint8Array): Buffer {
  if (data.length > maxDataBytes) {
    throw unsayable(`a datagram of ${String(data.length)} bytes does not fit the relay protocol`);
  }
  return Buffer.concat([Buffer.from([data.length >> 8, data.length & 255]), data]);
}

function parseMessage(
  bytes: Buffer,
  side: WireSide,
): { second: number; features: readonly RelayFeature[]; length: number } | undefined {
  if (bytes.length > 0 && bytes[0] !== version) {
    throw malformed(side, `this is no relay protocol: it begins with ${String(bytes[0])} instead of 1`);
  }
  if (bytes.length < headBytes) return undefined;
  const length = headBytes + bytes.readUInt16BE(2);
  if (bytes.length < length) return undefined;
  const features = parseRelayFeatures(bytes.subarray(headBytes, length), side);
  return { second: bytes[1]!, features, length };
}

function formatMessage(second: number, features: readonly RelayFeature[]): Buffer {
  const written = Buffer.concat(features.map(formatRelayFeature));
  if (written.length > maxFeaturesBytes) {
    throw unsayable(`${String(written.length)} bytes of features do not fit the relay protocol`);
  }
  return Buffer.concat([Buffer.from([version, second, written.length >> 8, written.length & 255]), written]);
}
