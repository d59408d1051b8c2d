import { X509Certificate } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import * as tls from 'node:tls';
import type { TlsSettings } from './endpoint.ts';

/** Where Linux and BSD systems keep their bundle; the first that can be read counts (as in Go's crypto/x509). */
const bundlePaths = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
  '/usr/local/etc/ssl/cert.pem',
  '/usr/local/share/certs/ca-root-nss.crt',
  '/etc/openssl/certs/ca-certificates.crt',
];

/** Folders of single certificates, read besides the bundle. */
const folderPaths = ['/etc/ssl/certs', '/etc/pki/tls/certs', '/usr/local/share/certs', '/etc/openssl/certs'];

const pemCertificate = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----/g;

/**
 * The PEM certificates that are trusted where a configuration names no CA: the system's store (`SSL_CERT_FILE` and
 * `SSL_CERT_DIR` where they are set, else the usual paths, else what Node can ask the system for), Node's own roots,
 * and `NODE_EXTRA_CA_CERTS`. Each is listed once. A file that cannot be read adds nothing, as in Go. It reads the
 * disk at every call; {@link secureContextFor} keeps what it made.
 */
export function readDefaultRoots(env: NodeJS.ProcessEnv = process.env): readonly string[] {
  const roots = new Map<string, string>();
  const add = (text: string): boolean => {
    const found = text.match(pemCertificate) ?? [];
    for (const pem of found) roots.set(pem.replace(/-----[^-]+-----|\s+/g, ''), pem);
    return found.length > 0;
  };

  for (const pem of tls.rootCertificates) add(pem);
  for (const pem of systemRootsOfNode()) add(pem);
  const bundles = env['SSL_CERT_FILE'] ? [env['SSL_CERT_FILE']] : bundlePaths;
  for (const path of bundles) if (add(readOrEmpty(path))) break;
  const folders = env['SSL_CERT_DIR'] ? env['SSL_CERT_DIR'].split(delimiter) : folderPaths;
  for (const folder of folders) {
    for (const path of filesIn(folder)) add(readOrEmpty(path));
  }
  if (env['NODE_EXTRA_CA_CERTS']) add(readOrEmpty(env['NODE_EXTRA_CA_CERTS']));
  return [...roots.values()];
}

/** Node 22.15 and newer can ask macOS and Windows, which keep their roots in no file. */
function systemRootsOfNode(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: (kind: 'system') => string[] };
  if (getCACertificates === undefined || (process.platform !== 'darwin' && process.platform !== 'win32'))
    return [];
  return getCACertificates('system');
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // A path that is absent or closed to us is the usual case in these lists, and simply holds no root for us.
    return '';
  }
}

function filesIn(folder: string): string[] {
  try {
    // Links are the hash names of files that are listed anyway, so half of the reads are saved.
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() || (entry.isSymbolicLink() && !/^[0-9a-f]{8}\.\d+$/.test(entry.name)))
      .map((entry) => join(folder, entry.name));
  } catch {
    // As above: most of these folders do not exist on any one system.
    return [];
  }
}

let defaultContext: tls.SecureContext | undefined;
let defaultRoots: readonly string[] | undefined;
const contexts = new WeakMap<TlsSettings, tls.SecureContext>();

/**
 * The TLS context for these settings. Parsing some 150 roots takes tens of milliseconds, so the context of the default
 * roots is made once per process, and every other one once per settings object; a change of the files on disk counts
 * after a restart. `ca` replaces the default roots. Throws a plain Error that says which setting cannot be used.
 */
export function secureContextFor(settings: TlsSettings): tls.SecureContext {
  if (settings.ca === undefined && settings.cert === undefined && settings.key === undefined) {
    // Nothing is verified, so no root is needed.
    if (settings.verify === false) return (unverifiedContext ??= tls.createSecureContext({ ca: [] }));
    defaultContext ??= tls.createSecureContext({ ca: [...(defaultRoots ??= readDefaultRoots())] });
    return defaultContext;
  }
  let context = contexts.get(settings);
  if (context === undefined) {
    context = makeContext(settings);
    contexts.set(settings, context);
  }
  return context;
}

let unverifiedContext: tls.SecureContext | undefined;

function makeContext(settings: TlsSettings): tls.SecureContext {
  let ca: string[];
  if (settings.ca !== undefined) ca = settings.ca.flatMap((text) => certificatesOf(text, 'tls.caFile'));
  else if (settings.verify === false) ca = [];
  else ca = [...(defaultRoots ??= readDefaultRoots())];
  if ((settings.cert === undefined) !== (settings.key === undefined)) {
    throw new Error('tls.certFile and tls.keyFile belong together; one of them is missing');
  }
  if (settings.cert === undefined) return tls.createSecureContext({ ca });
  certificatesOf(settings.cert, 'tls.certFile');
  try {
    return tls.createSecureContext({ ca, cert: settings.cert, key: settings.key });
  } catch (error) {
    throw new Error(
      `tls.certFile and tls.keyFile cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/** OpenSSL skips what it cannot read without a word, and then everything fails as "unknown CA". */
function certificatesOf(text: string, option: string): string[] {
  const found = text.match(pemCertificate);
  if (found === null) throw new Error(`${option} holds no PEM certificate`);
  for (const pem of found) {
    try {
      void new X509Certificate(pem);
    } catch (error) {
      throw new Error(`${option} holds a certificate that cannot be read`, { cause: error });
    }
  }
  return found;
}
