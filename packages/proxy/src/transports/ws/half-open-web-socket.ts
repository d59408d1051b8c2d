import { WebSocket } from 'ws';

/**
 * A WebSocket of the `ws` library whose directions end by themselves. The library answers the peer's Close at once, and
 * what we still had to say is lost; here our Close waits for {@link finish}. RFC 6455, section 5.5.1, lets an end that has
 * sent a Close stop reading, and GOST's does, so this carries further only between two of ours.
 */
export class HalfOpenWebSocket extends WebSocket {
  #finished = false;
  /** Called when the peer has sent its Close, or something that ends the connection. */
  peerEnded: () => void = () => undefined;

  /** The library calls this to answer; see above. */
  override close(code?: number, data?: string | Buffer): void {
    if (this.#finished || this.readyState !== WebSocket.OPEN) super.close(code, data);
    else this.peerEnded();
  }

  /** Sends our Close after everything else. */
  finish(code = 1000): void {
    this.#finished = true;
    super.close(code);
  }
}
