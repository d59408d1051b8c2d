import type { Conn } from './conn.ts';
import type { Session } from './session.ts';

/** What the bytes of a connection ask for. */
export interface Protocol {
  /** GOST's word for it in a configuration. */
  readonly type: string;
  /**
   * Serves one accepted connection to its end; when it settles, the connection is closed or closing. It rejects with
   * ProxyError where the connection ended badly; the client has been told by then, as far as the protocol can.
   */
  handle(client: Conn, session: Session): Promise<void>;
}
