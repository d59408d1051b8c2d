// Written by scripts/generate.ts from proto/auth.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.AuthenticateRequest of proto/auth.proto. */
export interface AuthenticateRequest {
  /** As the client gave it. Empty when the client gave none, or its protocol has none. */
  username: string;
  /** As the client gave it, in clear. SOCKS4 has no password: it is empty there. */
  password: string;
  /** Where the client connects from, as ip:port. Empty where the proxy does not know (its API, metrics, SSH listeners). */
  client: string;
  /** The name of the service that the client connected to; @api and @metrics for the proxy's own. */
  service: string;
  /**
   * The common name of the client's certificate. This and the next two are filled only when the client proved a
   * certificate that the service's CA has signed.
   */
  clientCn: string;
  /** DNS names, e-mail addresses and URIs of that certificate, in this order; no IP addresses. */
  clientSan: readonly string[];
  /** The SHA-256 of that certificate, in lower-case hexadecimal without separators. */
  clientCertFingerprint: string;
}

/** The table of {@link AuthenticateRequest}. */
export const AuthenticateRequest: MessageType<AuthenticateRequest> = {
  typeName: 'proto.AuthenticateRequest',
  fields: [
    { number: 1, name: 'username', type: 'string', repeated: false },
    { number: 2, name: 'password', type: 'string', repeated: false },
    { number: 3, name: 'client', type: 'string', repeated: false },
    { number: 4, name: 'service', type: 'string', repeated: false },
    { number: 5, name: 'clientCn', type: 'string', repeated: false },
    { number: 6, name: 'clientSan', type: 'string', repeated: true },
    { number: 7, name: 'clientCertFingerprint', type: 'string', repeated: false },
  ],
};

/** proto.AuthenticateReply of proto/auth.proto. */
export interface AuthenticateReply {
  /** True: the client is let in. False: it is asked again, or turned away, as its protocol has it. */
  ok: boolean;
  /** Under which id later questions (bypass, hop, limiter, …) and records name this user. May be empty. */
  id: string;
}

/** The table of {@link AuthenticateReply}. */
export const AuthenticateReply: MessageType<AuthenticateReply> = {
  typeName: 'proto.AuthenticateReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
    { number: 2, name: 'id', type: 'string', repeated: false },
  ],
};

/** The service of proto/auth.proto. */
export const Authenticator = {
  typeName: 'proto.Authenticator',
  methods: {
    Authenticate: { rpc: 'Authenticate', request: AuthenticateRequest, reply: AuthenticateReply },
  },
} as const;
