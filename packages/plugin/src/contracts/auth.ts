import { defineContract, type Method } from '../contract.ts';
import { Authenticator, type AuthenticateReply, type AuthenticateRequest } from '../gen/auth.ts';
import { addressKey, keyOf } from './cache-key.ts';
import { yesOrNo } from './checked.ts';

/** The certificate that a client proved, signed by the service's CA. */
export interface ClientCertificate {
  readonly commonName: string;
  /** DNS names, e-mail addresses and URIs, in this order. */
  readonly names: readonly string[];
  /** SHA-256 of the certificate, lower-case hexadecimal. */
  readonly fingerprint: string;
}

/** Who wants in, and with what. */
export interface AuthAsk {
  /** Empty when the client offered no credentials. */
  readonly username: string;
  readonly password: string;
  /** The client's source address, `ip:port`; empty where it is not known. */
  readonly client: string;
  readonly service: string;
  readonly certificate: ClientCertificate | undefined;
}

/** Let in or not, and under which id. */
export interface AuthAnswer {
  readonly ok: boolean;
  /** The user's id in all later questions; may be empty. */
  readonly user: string;
}

const authenticate: Method<AuthAsk, AuthAnswer, AuthenticateRequest, AuthenticateReply> = {
  ...Authenticator.methods.Authenticate,
  wire: {
    request: ({ username, password, client, service, certificate }) => ({
      username,
      password,
      client,
      service,
      clientCn: certificate?.commonName ?? '',
      clientSan: certificate?.names ?? [],
      clientCertFingerprint: certificate?.fingerprint ?? '',
    }),
    ask: (request) => ({
      username: request.username,
      password: request.password,
      client: request.client,
      service: request.service,
      certificate: certificateOf(request),
    }),
    answer: ({ ok, id }) => ({ ok, user: id }),
    reply: ({ ok, user }) => ({ ok: yesOrNo(ok, 'authenticate'), id: user }),
  },
  http: {
    verb: 'POST',
    request: [
      'service',
      'username',
      'password',
      'client',
      'clientCn?',
      'clientSan?',
      'clientCertFingerprint?',
    ],
    reply: ['ok', 'id'],
    required: ['ok'],
  },
  cacheKey: ({ username, password, client, service, certificate }, secret) =>
    keyOf(
      username,
      secret(password),
      addressKey(client),
      service,
      certificate?.fingerprint ?? '',
      certificate?.commonName ?? '',
      ...(certificate?.names ?? []),
    ),
  negative: ({ ok }) => !ok,
  coalesce: false,
  idempotent: true,
  timeoutMs: 2_000,
  onError: 'refuse',
  allow: { reply: { ok: true, user: '' } },
};

function certificateOf(request: AuthenticateRequest): ClientCertificate | undefined {
  const { clientCn: commonName, clientSan: names, clientCertFingerprint: fingerprint } = request;
  if (commonName === '' && names.length === 0 && fingerprint === '') return undefined;
  return { commonName, names, fingerprint };
}

/** Who is this user? Several are asked in their order; the first yes wins. */
export const auth = defineContract({
  kind: 'auth',
  section: 'authers',
  service: Authenticator.typeName,
  methods: { authenticate },
  combine: 'any',
});
