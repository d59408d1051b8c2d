import type { Duplex } from 'node:stream';

/** A host (a name, or an IP address without brackets) and a port. Canonical once it has passed `core/address`. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a TLS peer proved. `verified` is false where no CA was configured. */
export interface PeerTls {
  readonly verified: boolean;
  readonly commonName: string;
  /** DNS, e-mail and URI names, as GOST sends them. */
  readonly subjectAltNames: readonly string[];
  /** Lower-case hex SHA-256 of the leaf certificate. */
  readonly fingerprint: string;
  readonly serverName?: string;
  readonly protocol?: string;
}

/** The two addresses of a connection, and what is known of its peer. */
export interface Ends {
  readonly local: Address;
  readonly remote: Address;
  readonly tls?: PeerTls;
  /** What a tunnel's visitor asked for. */
  readonly wanted?: Address;
}

/** A byte stream; a layer makes a new Conn around the one below. One reader at a time. */
export interface Conn extends Ends {
  readonly kind: 'stream';
  /** The next bytes; null once the peer has half-closed. Rejects with ProxyError when the connection broke. */
  read(): Promise<Buffer | null>;
  /** Puts bytes back: the next read gives them first. */
  unread(bytes: Buffer): void;
  /** Resolves when more may be written (not when the peer has it). */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Half-closes our direction after what was written. Resolves when the system has taken all of it, or the connection is
   * over. Never rejects.
   */
  end(): Promise<void>;
  /** Ends both directions at once; on plain TCP the peer sees RST. */
  reset(): void;
  /** Resolves once, when both directions are closed, however that came about. */
  readonly closed: Promise<void>;
  /** Made on first use, for libraries; from then on the only way in. */
  readonly stream: Duplex;
}

/** Called for each connection that a listener accepted. */
export type Accept = (end: Conn) => void;

/** An open listener. `close` stops accepting; accepted connections live on. */
export interface Listening {
  readonly address: Address;
  close(): Promise<void>;
}
