import { H2Error, defaultFrameBytes, defaultWindowBytes, h2Code, maxWindowBytes } from './codes.ts';
import { readUint32 } from './frames.ts';

/** Setting identifiers (RFC 9113, section 6.5.2). */
export const settingId = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** What the peer announced; before its SETTINGS came, the values of RFC 9113, section 6.5.2. */
export class PeerSettings {
  headerTableBytes = 4096;
  /** Unlimited until the peer says otherwise, but see `H2Connection`, which starts with 100. */
  maxConcurrentStreams = Number.POSITIVE_INFINITY;
  initialWindowBytes = defaultWindowBytes;
  maxFrameBytes = defaultFrameBytes;

  /**
   * Takes the payload of one SETTINGS frame and returns by how much SETTINGS_INITIAL_WINDOW_SIZE changed, which may be
   * negative. Throws H2Error for what RFC 9113, section 6.5 forbids; `fromServer` says who sent it, as a server may not
   * switch push on.
   */
  apply(bytes: Buffer, from: number, to: number, fromServer: boolean): number {
    if ((to - from) % 6 !== 0) {
      throw new H2Error(h2Code.frameSizeError, 'the length of SETTINGS is no multiple of 6');
    }
    const before = this.initialWindowBytes;
    for (let at = from; at < to; at += 6) {
      const id = (bytes[at]! << 8) | bytes[at + 1]!;
      const value = readUint32(bytes, at + 2);
      switch (id) {
        case settingId.headerTableSize:
          this.headerTableBytes = value;
          break;
        case settingId.enablePush:
          if (value > 1 || (fromServer && value === 1)) {
            throw new H2Error(h2Code.protocolError, `SETTINGS_ENABLE_PUSH is ${value}`);
          }
          break;
        case settingId.maxConcurrentStreams:
          this.maxConcurrentStreams = value;
          break;
        case settingId.initialWindowSize:
          if (value > maxWindowBytes) {
            throw new H2Error(h2Code.flowControlError, `SETTINGS_INITIAL_WINDOW_SIZE is ${value}`);
          }
          this.initialWindowBytes = value;
          break;
        case settingId.maxFrameSize:
          if (value < defaultFrameBytes || value > 0xff_ffff) {
            throw new H2Error(h2Code.protocolError, `SETTINGS_MAX_FRAME_SIZE is ${value}`);
          }
          this.maxFrameBytes = value;
          break;
        default:
          // Unknown settings are ignored (RFC 9113, section 6.5.2); the peer's list limit is for it to enforce.
          break;
      }
    }
    return this.initialWindowBytes - before;
  }
}

/** The payload of a SETTINGS frame: identifier and value in turn. */
export function encodeSettings(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6);
  settings.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  });
  return payload;
}
