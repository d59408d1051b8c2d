/** Frame types (RFC 9113, section 6). Numbers above these are unknown and skipped. */
export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Frame flags (RFC 9113, section 6). ACK and END_STREAM share a bit; the type says which is meant. */
export const flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** Error codes of RST_STREAM and GOAWAY (RFC 9113, section 7). */
export const h2Code = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13,
} as const;

const names = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];

/** The name that RFC 9113, section 7 gives to an error code, or its number where it gives none. */
export function h2CodeName(code: number): string {
  return names[code] ?? `error ${code}`;
}

/** Ends a whole connection: it is thrown while a frame is read, and sent to the peer as a GOAWAY with this code. */
export class H2Error extends Error {
  override readonly name = 'H2Error';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** What a client sends first, before its SETTINGS (RFC 9113, section 3.4). */
export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** The flow-control window before anything was said about it, and the largest one (RFC 9113, section 6.9). */
export const defaultWindowBytes = 65_535;
export const maxWindowBytes = 0x7fff_ffff;

/** The frame size that every peer takes (RFC 9113, section 4.2). We announce no other. */
export const defaultFrameBytes = 16_384;
