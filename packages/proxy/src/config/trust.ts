import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { TlsSettings } from '@sallyport/plugin/wire';
import type { Report } from '../schema/report.ts';
import type { TlsConfig } from './schema.ts';
import { systemReason } from './system-reason.ts';

const maxPemBytes = 1024 * 1024;

/**
 * Reads the certificates and the key that a `tls` block names, so that a file that is missing or is none is found at load
 * and at its line. A `tls` block verifies the server (GOST's does not); `secure: false` says in so many words that it
 * should not, and draws a warning. Answers undefined when something is wrong.
 */
export function readTrust(tls: TlsConfig, report: Report): TlsSettings | undefined {
  const errorsBefore = report.errors.length;
  const error = (key: string, message: string) => {
    report.error(tls.at(key), `${tls.path()}.${key}`, message);
  };
  const read = (key: 'caFile' | 'certFile' | 'keyFile'): string | undefined => {
    const file = tls[key];
    if (file === undefined) return undefined;
    try {
      if (statSync(file).size <= maxPemBytes) return readFileSync(file, 'utf8');
      error(key, `${file} is larger than 1 MiB; it should hold certificates in PEM form`);
    } catch (cause) {
      error(key, `${file} cannot be read: ${systemReason(cause)}`);
    }
    return undefined;
  };
  const ca = read('caFile');
  const cert = read('certFile');
  const key = read('keyFile');
  if (ca !== undefined && parseCertificate(ca) === undefined)
    error('caFile', `${tls.caFile!} holds no certificate in PEM form`);
  const certificate = cert === undefined ? undefined : parseCertificate(cert);
  if (cert !== undefined && certificate === undefined)
    error('certFile', `${tls.certFile!} holds no certificate in PEM form`);
  const privateKey = key === undefined ? undefined : parseKey(key);
  if (key !== undefined && privateKey === undefined) {
    error('keyFile', `${tls.keyFile!} holds no private key in PEM form without a passphrase`);
  }
  if (certificate && privateKey && !certificate.checkPrivateKey(privateKey)) {
    error('keyFile', `the key in ${tls.keyFile!} does not belong to the certificate in ${tls.certFile!}`);
  }
  if (tls.certFile !== undefined && tls.keyFile === undefined) error('certFile', 'needs `keyFile` beside it');
  if (tls.keyFile !== undefined && tls.certFile === undefined) error('keyFile', 'needs `certFile` beside it');
  if (tls.secure === false) {
    if (tls.caFile !== undefined)
      error('secure', 'is false, so that `caFile` would not be looked at; remove one of the two');
    else {
      report.warn(
        tls.at('secure'),
        `${tls.path()}.secure`,
        'switches verification off: whoever answers at this address is given the token and every password',
      );
    }
  }
  if (report.errors.length > errorsBefore) return undefined;
  return {
    ...(ca !== undefined && { ca: [ca] }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(tls.serverName !== undefined && { serverName: tls.serverName }),
    ...(tls.secure === false && { verify: false }),
  };
}

/** The first certificate of a PEM text. */
function parseCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    // The one thing that can be wrong is said by whoever asked, with the file's name.
    return undefined;
  }
}

function parseKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    // As above; the library's own words may quote what it read.
    return undefined;
  }
}
