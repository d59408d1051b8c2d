import { createHash, X509Certificate } from 'node:crypto';
import { createSecureContext, createServer } from 'node:tls';
import type { SecureContext, Server } from 'node:tls';
import { readDefaultRoots } from '@sallyport/plugin/wire';
import { ProxyError } from './errors.ts';
import type { ClientTls, ServerTls, TlsParameters } from './tls.ts';

/** Longer than any handshake of ours may take: our own deadline ends it first, and says so. */
const nodeHandshakeMs = 3_600_000;

const servers = new WeakMap<ServerTls, Server>();

/**
 * Node's half of a TLS listener: a server that never listens, made once for each settings object. Throws ProxyError
 * `listenFailed` when certificate, key, versions or ciphers cannot be used.
 */
export function tlsServerOf(tls: ServerTls): Server {
  let server = servers.get(tls);
  if (server === undefined) {
    server = makeServer(tls);
    servers.set(tls, server);
  }
  return server;
}

function makeServer(tls: ServerTls): Server {
  const { cert, key, ca } = tls;
  const parameters = {
    ...parametersOf(tls),
    ...(ca !== undefined && { ca: [...ca] }),
    // A session may be taken up again only here: it remembers whose certificate was verified.
    sessionIdContext: createHash('sha256')
      .update(JSON.stringify([cert, ca]))
      .digest('hex')
      .slice(0, 32),
  };
  try {
    const context = createSecureContext({ ...parameters, cert, key });
    return createServer({
      ...parameters,
      // Without a certificate of its own the server has none to show to those who do not name it rightly.
      ...(tls.rejectUnknownSNI !== true
        ? { cert, key }
        : {
            SNICallback: (name: string, done: (error: Error | null, context?: SecureContext) => void) => {
              if (isServed(name, tls)) done(null, context);
              else done(new UnknownServerName(name));
            },
          }),
      ...(tls.alpn !== undefined && { ALPNProtocols: [...tls.alpn] }),
      requestCert: ca !== undefined,
      rejectUnauthorized: ca !== undefined,
      handshakeTimeout: nodeHandshakeMs,
    });
  } catch (cause) {
    throw new ProxyError('listenFailed', 'self', `TLS cannot be served: ${reasonOf(cause)}`, { cause });
  }
}

/** A client asked for a server that we are not. */
export class UnknownServerName extends Error {
  override readonly name = 'UnknownServerName';
  constructor(name: string) {
    super(`the client asked for ${JSON.stringify(name)}, which is not served here`);
  }
}

function isServed(name: string, { cert, serverNames = [] }: ServerTls): boolean {
  const wanted = name.toLowerCase();
  const parent = wanted.slice(wanted.indexOf('.') + 1);
  const listed = serverNames.some((served) => {
    const one = served.toLowerCase();
    return one === wanted || (one.startsWith('*.') && wanted.includes('.') && one.slice(2) === parent);
  });
  return listed || new X509Certificate(cert).checkHost(name) !== undefined;
}

/** Contexts of clients by what they are made of; the least used goes first. */
const clientContexts = new Map<string, SecureContext>();
const maxClientContexts = 64;
let defaultRoots: readonly string[] | undefined;

/**
 * The context of a TLS client. Parsing the system's roots takes tens of milliseconds, so equal settings share one. Throws
 * ProxyError `dialFailed` when the settings cannot be used.
 */
export function clientContextOf(tls: ClientTls): SecureContext {
  const { ca, cert, key } = tls;
  const verify = tls.verify !== false;
  const made = JSON.stringify([parametersOf(tls), verify, ca, cert, key]);
  let context = clientContexts.get(made);
  clientContexts.delete(made);
  try {
    context ??= createSecureContext({
      ...parametersOf(tls),
      // Nothing is verified without roots, so none is parsed.
      ca: verify ? [...(ca ?? (defaultRoots ??= readDefaultRoots()))] : [],
      ...(cert !== undefined && { cert, key }),
    });
  } catch (cause) {
    throw new ProxyError('dialFailed', 'self', `TLS cannot be spoken: ${reasonOf(cause)}`, { cause });
  }
  clientContexts.set(made, context);
  const [oldest] = clientContexts.keys();
  if (clientContexts.size > maxClientContexts && oldest !== undefined) clientContexts.delete(oldest);
  return context;
}

function parametersOf({ minVersion, maxVersion, ciphers }: TlsParameters) {
  return {
    ...(minVersion !== undefined && { minVersion }),
    ...(maxVersion !== undefined && { maxVersion }),
    ...(ciphers !== undefined && { ciphers }),
  };
}

function reasonOf(cause: unknown): string {
  const { reason, message } = cause as Error & { reason?: string };
  return reason ?? message;
}
