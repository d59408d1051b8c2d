import { WebSocket } from 'ws';

/**
 * A WebSocket of the `ws` library whose directions end by themselves. The library answers the peer's Close at once, and
 * what we still had to say is lost; here our Close waits for {@link finish}. RFC 6455, section 5.5.1, lets an end that has
 * sent a Close stop reading, and GOST's does, so this carries further only between two of ours.
 */
export class HalfOpenWebSocket extends WebSocket {
  #finished = false;
  #answer: number | undefined;
  /** Called when the peer has sent its Close; where it broke the protocol, after the `error` event. */
  peerEnded: () => void = () => undefined;

  /** The library calls this to answer; see above. */
  override close(code?: number, data?: string | Buffer): void {
    if (this.#finished || this.readyState !== WebSocket.OPEN) {
      super.close(code, data);
      return;
    }
    this.#answer = code;
    // The library answers what breaks the protocol in the same way, and tells of it only then.
    queueMicrotask(() => this.peerEnded());
  }

  /** Sends our Close after everything else: that we have ended. */
  finish(): void {
    this.#finished = true;
    super.close(1000);
  }

  /** Sends a Close that says which rule the peer has broken. */
  complain(): void {
    this.#finished = true;
    super.close(this.#answer ?? 1002);
  }
}
