/** What TLS of either side may be told. Absent: Node's default. */
export interface TlsParameters {
  readonly minVersion?: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
  readonly maxVersion?: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
  /** In OpenSSL's words, separated by colons. */
  readonly ciphers?: string;
  readonly alpn?: readonly string[];
}

/** How a listener speaks TLS. */
export interface ServerTls extends TlsParameters {
  /** PEM; the leaf first. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** PEM. Present: a client must show a certificate that one of these signed. */
  readonly ca?: readonly string[];
  /** True: a client that names a server that the certificate does not is turned away in the handshake. Default false. */
  readonly rejectUnknownSNI?: boolean;
  /** Names that count beside those of the certificate where `rejectUnknownSNI` is set; `*.example.com` is one. */
  readonly serverNames?: readonly string[];
}

/** How a dialer speaks TLS. */
export interface ClientTls extends TlsParameters {
  /** PEM. Absent: the system's roots, Node's own and `NODE_EXTRA_CA_CERTS`. */
  readonly ca?: readonly string[];
  /** PEM: our certificate, where the peer asks for one. */
  readonly cert?: string;
  readonly key?: string;
  /** The name in the peer's certificate, and what is sent as SNI. Absent: the host that is dialled. */
  readonly serverName?: string;
  /** False: whoever answers is believed. Default true. */
  readonly verify?: boolean;
}
