import { durationMs, filled, flag, list, mapping, optional, text, word } from '../../schema/read.ts';
import type { Reader } from '../../schema/read.ts';
import { gostKeys } from '../gost-names.ts';
import { others } from './common.ts';
import type { Of } from './common.ts';

const fileName = filled(text('a file name'));

/** GOST's words for TLS versions, and Node's. */
const versions = {
  VersionTLS10: 'TLSv1',
  VersionTLS11: 'TLSv1.1',
  VersionTLS12: 'TLSv1.2',
  VersionTLS13: 'TLSv1.3',
} as const;
type GostVersion = keyof typeof versions;

const version: Reader<(typeof versions)[GostVersion]> = (value, path, reading) => {
  const found = word('TLS version', Object.keys(versions) as GostVersion[])(value, path, reading);
  return found && versions[found];
};

/** Go's names of cipher suites and OpenSSL's. Those of TLS 1.3 are always on, in Go as here. */
const suites = {
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: 'ECDHE-ECDSA-AES128-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: 'ECDHE-ECDSA-AES256-SHA',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: 'ECDHE-RSA-AES128-SHA',
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: 'ECDHE-RSA-AES256-SHA',
  TLS_RSA_WITH_AES_128_GCM_SHA256: 'AES128-GCM-SHA256',
  TLS_RSA_WITH_AES_256_GCM_SHA384: 'AES256-GCM-SHA384',
  TLS_AES_128_GCM_SHA256: 'TLS_AES_128_GCM_SHA256',
  TLS_AES_256_GCM_SHA384: 'TLS_AES_256_GCM_SHA384',
  TLS_CHACHA20_POLY1305_SHA256: 'TLS_CHACHA20_POLY1305_SHA256',
} as const;
type GostSuite = keyof typeof suites;

const suite: Reader<string> = (value, path, reading) => {
  const found = word('cipher suite', Object.keys(suites) as GostSuite[])(value, path, reading);
  return found && suites[found];
};

const options = mapping({
  minVersion: optional(version),
  maxVersion: optional(version),
  cipherSuites: optional(list(suite)),
  alpn: optional(list(filled(text('a protocol name')))),
});

/** How we speak TLS to somebody: a plugin, a node, a forwarder's target. */
export const clientTls = mapping(
  {
    caFile: optional(fileName),
    certFile: optional(fileName),
    keyFile: optional(fileName),
    serverName: optional(filled(text('a host name'))),
    secure: optional(flag()),
    options: optional(options),
  },
  { unserved: others(gostKeys.tls, 'caFile', 'certFile', 'keyFile', 'serverName', 'secure', 'options') },
);

/** How we are spoken to over TLS. Without a certificate one is made and kept. */
export const serverTls = mapping(
  {
    caFile: optional(fileName),
    certFile: optional(fileName),
    keyFile: optional(fileName),
    options: optional(options),
    rejectUnknownSNI: optional(flag()),
    serverNames: optional(list(filled(text('a host name')))),
    validityMs: optional(durationMs(), 'validity'),
    commonName: optional(filled(text('a name'))),
    organization: optional(filled(text('a name'))),
    // Of no meaning for a server; GOST takes them, and files that were written for both sides have them.
    serverName: optional(text()),
    secure: optional(flag()),
  },
  { unserved: [] },
);

export type ClientTlsConfig = Of<typeof clientTls>;
export type ServerTlsConfig = Of<typeof serverTls>;
