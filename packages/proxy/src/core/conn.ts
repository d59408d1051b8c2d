import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Datagrams } from './datagrams.ts';
import type { ProxyError } from './errors.ts';

/**
 * A host (a name, or an IP address without brackets) and a port. Canonical once it has passed `core/address`. A unix
 * socket has its path as host, which begins with `/` or `@`, and port 0.
 */
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
  /** The trusted proxy that connected, where `remote` is who it says it speaks for. */
  readonly via?: Address;
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
   * Writes all of them, as one piece and in this order, without making one of them first: for many long ones. Absent where they
   * would have to be joined in any case; then whoever has them joins them.
   */
  writeParts?(parts: readonly Uint8Array[]): Promise<void>;
  /**
   * Half-closes our direction after what was written. Resolves when the system has taken all of it, or the connection is
   * over. Never rejects.
   */
  end(): Promise<void>;
  /**
   * Says of an `end` that nothing of the peer's is waited for any more: a connection that would hold it back meanwhile does so no
   * longer. Absent where none is held back.
   */
  leave?(): void;
  /** Ends both directions at once; on plain TCP the peer sees RST. */
  reset(): void;
  /** Resolves once, when both directions are closed, however that came about. */
  readonly closed: Promise<void>;
  /** Made on first use, for libraries; from then on the only way in. */
  readonly stream: Duplex;
  /** The connection that this one is a layer over. Absent at the lowest layer. */
  readonly under?: Conn;
  /**
   * Gives the socket away, paused, with everything that was read and not taken put back; the Conn must not be used any
   * more. Undefined, and nothing has changed, where there is no socket or it has ended. For layers that Node implements
   * over sockets, which are several times faster than over `stream`.
   */
  detach?(): Socket | undefined;
}

/** What a listener accepts and a handler serves: a connection, or one peer's datagrams. */
export type End = Conn | Datagrams;

/** Called for each connection, or each new peer of datagrams, that a listener accepted. */
export type Accept = (end: End) => void;

/** An open listener. `close` stops accepting; accepted connections live on. */
export interface Listening {
  readonly address: Address;
  /** Of one at another machine: resolves when that listens, or could not be brought to for the first time. Absent: it listens. */
  readonly ready?: Promise<void>;
  close(): Promise<void>;
}

/** A listener at a node. It lasts as long as the connection with the node. */
export interface RemoteListening extends Listening {
  /** Resolves when the node does not listen any more though nobody closed it: with the reason. */
  readonly lost: Promise<ProxyError>;
  /** What there is to say of it beyond its address: the tunnel, and the name that it is public under. */
  readonly name?: string;
}
