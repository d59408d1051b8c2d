/** How a TLS connection to a plugin is made. Certificates are PEM text; files are read by whoever reads the configuration. */
export interface TlsSettings {
  /** Trusted roots. Absent: the system's store, Node's own and `NODE_EXTRA_CA_CERTS` together (`dial.ts` says how). */
  readonly ca?: readonly string[];
  /** Our certificate and key, for servers that ask for one (mTLS). */
  readonly cert?: string;
  readonly key?: string;
  /** The name sent as SNI and looked for in the certificate. Default: the host that is connected to. */
  readonly serverName?: string;
  /** False switches verification off. Default true. */
  readonly verify?: boolean;
}

/** One address at which a plugin can be reached. */
export interface Endpoint {
  /** As a person would write it; it appears in events and errors, so it never holds credentials. */
  readonly url: string;
  readonly connect: { readonly host: string; readonly port: number } | { readonly path: string };
  /** Present: TLS is spoken. */
  readonly tls?: TlsSettings;
  /** `:authority` or `Host`. GOST: `tls.serverName` for gRPC over TLS where given, else `host:port`. */
  readonly authority: string;
  /** HTTP only: the path and query that the calls go to, `/auth` or `/x?y=1`. */
  readonly path?: string;
}
