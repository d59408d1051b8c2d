import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createSelfSigned } from './certificate.ts';
import type { CertificateAndKey } from './certificate.ts';

const yearMs = 365 * 24 * 3600 * 1000;

/** How far the clock of a peer may be behind ours before our new certificate is not valid yet for it. */
const clockSkewMs = 3600 * 1000;

/** What a certificate that has to be made says, and where it is looked for. */
export interface IdentityOptions {
  /** Default a year, as in GOST. */
  readonly validityMs?: number;
  /** Default `sallyport`. */
  readonly commonName?: string;
  /** Default `Sallyport`. */
  readonly organization?: string;
  /** Where `cert.pem` and `key.pem` are looked for. Default: the working directory. */
  readonly folder?: string;
  /** In its `.gost` the certificate is kept. Default: the user's home. */
  readonly home?: string;
  /** Told where the certificate is from, and what a person should know about others that were passed over. */
  readonly note?: (text: string, level: 'info' | 'warn') => void;
}

/**
 * The certificate of a TLS listener that names none, found where GOST finds it: `cert.pem` and `key.pem` in the working
 * directory, or else `auto-ca-cert.pem` and `auto-ca-key.pem` in `$HOME/.gost`, or else made there, so that it is the same
 * after a restart. One that has expired, or whose key is another's, is passed over with a warning; one of our own making is
 * then made anew. Where it cannot be kept it is used all the same, with a warning. Never throws.
 */
export function findIdentity(options: IdentityOptions = {}): CertificateAndKey {
  const { folder = '', home = homedir(), note = () => undefined } = options;
  const own = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const kept = { cert: join(home, '.gost', 'auto-ca-cert.pem'), key: join(home, '.gost', 'auto-ca-key.pem') };
  for (const files of [own, kept]) {
    const found = readPair(files, note);
    if (found === undefined) continue;
    note(`TLS listeners without a certificate of their own show ${files.cert}`, 'info');
    return found;
  }
  const now = Date.now();
  const made = createSelfSigned({
    commonName: options.commonName ?? 'sallyport',
    organization: options.organization ?? 'Sallyport',
    notBefore: new Date(now - clockSkewMs),
    notAfter: new Date(now + (options.validityMs || yearMs)),
  });
  try {
    mkdirSync(join(home, '.gost'), { recursive: true, mode: 0o700 });
    // The key first: a certificate that is there without its key would be passed over at the next start.
    replaceFile(kept.key, made.key);
    replaceFile(kept.cert, made.cert);
    note(
      `TLS listeners without a certificate of their own show ${kept.cert}, which was made for them`,
      'info',
    );
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    note(
      `the TLS certificate that was made cannot be kept, so that the next start makes another: ${reason}`,
      'warn',
    );
  }
  return made;
}

/** A certificate and its key that can be used; undefined, and a warning where somebody should know why, otherwise. */
function readPair(
  files: CertificateAndKey,
  note: NonNullable<IdentityOptions['note']>,
): CertificateAndKey | undefined {
  let cert: string;
  let key: string;
  try {
    cert = readFileSync(files.cert, 'utf8');
    key = readFileSync(files.key, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOENT') note(`${files.cert} is not used as TLS certificate: ${message}`, 'warn');
    return undefined;
  }
  const unfit = unfitness(cert, key, files);
  if (unfit === undefined) return { cert, key };
  note(`${files.cert} is not used as TLS certificate: ${unfit}`, 'warn');
  return undefined;
}

function unfitness(cert: string, key: string, files: CertificateAndKey): string | undefined {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch {
    // What the library says beyond that may quote the file.
    return 'it is no certificate in PEM form';
  }
  try {
    if (!certificate.checkPrivateKey(createPrivateKey(key))) return `the key in ${files.key} is another's`;
  } catch {
    // As above, and the file is a key.
    return `${files.key} holds no private key in PEM form without a passphrase`;
  }
  return Date.parse(certificate.validTo) < Date.now()
    ? `it has expired on ${certificate.validTo}`
    : undefined;
}

/** Writes a file so that whoever reads it finds the old text or the new one, and nobody but the user reads it. */
function replaceFile(path: string, text: string): void {
  const fresh = `${path}.${randomBytes(6).toString('hex')}`;
  const file = openSync(fresh, 'wx', 0o600);
  try {
    try {
      writeSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(fresh, path);
  } catch (error) {
    unlinkSync(fresh);
    throw error;
  }
}
