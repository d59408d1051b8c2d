import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { ClientTls, ServerTls, TlsParameters } from '../core/tls.ts';
import type { Report } from '../schema/report.ts';
import type { Config } from './merge.ts';
import type { ClientTlsConfig, ServerTlsConfig } from './sections/tls.ts';
import { systemReason } from './system-reason.ts';

const maxPemBytes = 1024 * 1024;

/** What the `tls` blocks of a configuration name, read from its files. */
export interface TlsFiles {
  /** How we speak TLS to whoever the block is about. What is wrong with one that is not of the file goes to `found`. */
  client(tls: ClientTlsConfig, found?: Report): ClientTls;
  /** How we are spoken to. Undefined: no certificate is named, so that one has to be found or made. */
  server(tls: ServerTlsConfig): ServerTls | undefined;
  /** Whom a listener demands a certificate of, where its own is found or made. */
  ca(tls: ServerTlsConfig): Pick<ServerTls, 'ca'>;
  /** Every file that is named. */
  readonly names: readonly string[];
}

/** Something that has files beside it. */
type Files = Pick<ClientTlsConfig, 'caFile' | 'certFile' | 'keyFile' | 'at' | 'path'>;

/**
 * Reads the certificates and keys that the `tls` blocks name, so that a file that is missing or is none is found at load
 * and at its line.
 */
export function readTlsFiles(config: Config, report: Report): TlsFiles {
  const clients = new Map<ClientTlsConfig, ClientTls>();
  const servers = new Map<ServerTlsConfig, Server>();
  const verifies = !config.compat.has('unverifiedTls');
  const names = new Set<string>();
  for (const { caFile, certFile, keyFile } of [...clientBlocks(config), ...serverBlocks(config)])
    for (const name of [caFile, certFile, keyFile]) if (name !== undefined) names.add(name);
  for (const tls of clientBlocks(config)) clients.set(tls, readClient(tls, verifies, report));
  for (const tls of serverBlocks(config)) servers.set(tls, readServer(tls, report));
  return {
    client: (tls, found = report) => clients.get(tls) ?? readClient(tls, verifies, found),
    server: (tls) => servers.get(tls)?.tls,
    ca: (tls) => servers.get(tls)?.ca ?? {},
    names: [...names],
  };
}

/** Every block that says how we speak TLS to somebody. */
export function* clientBlocks(config: Config): Iterable<ClientTlsConfig> {
  const { authers, admissions, bypasses, hosts, resolvers, limiters, recorders, observers, rewriters } =
    config;
  const hops = [...config.hops, ...config.chains.flatMap((chain) => chain.hops ?? [])];
  for (const module of [
    authers,
    admissions,
    bypasses,
    hosts,
    resolvers,
    limiters,
    recorders,
    observers,
    rewriters,
    hops,
  ].flat()) {
    if (module.plugin?.tls !== undefined) yield module.plugin.tls;
  }
  for (const node of hops.flatMap((hop) => hop.nodes ?? [])) {
    for (const tls of [node.tls, node.dialer?.tls, node.connector?.tls]) if (tls !== undefined) yield tls;
  }
  for (const node of config.services.flatMap(({ forwarder }) => forwarder?.nodes ?? [])) {
    if (node.tls !== undefined) yield node.tls;
  }
}

function* serverBlocks(config: Config): Iterable<ServerTlsConfig> {
  if (config.tls !== undefined) yield config.tls;
  for (const { handler, listener } of config.services) {
    for (const tls of [handler?.tls, listener?.tls]) if (tls !== undefined) yield tls;
  }
}

function readClient(tls: ClientTlsConfig, verifies: boolean, report: Report): ClientTls {
  const { ca, cert, key } = readFiles(tls, report);
  const verify = tls.secure ?? verifies;
  if (tls.secure === false) {
    if (tls.caFile !== undefined) {
      report.error(
        tls.at('secure'),
        `${tls.path()}.secure`,
        'is false, so that `caFile` would not be looked at; remove one of the two',
      );
    } else {
      report.warn(
        tls.at('secure'),
        `${tls.path()}.secure`,
        'switches verification off: whoever answers at this address is given every password and token',
      );
    }
  }
  return {
    ...parameters(tls),
    ...(ca !== undefined && { ca: [ca] }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(tls.serverName !== undefined && { serverName: tls.serverName }),
    ...(!verify && { verify: false }),
  };
}

interface Server {
  readonly tls: ServerTls | undefined;
  readonly ca: Pick<ServerTls, 'ca'>;
}

function readServer(tls: ServerTlsConfig, report: Report): Server {
  const { ca: pem, cert, key } = readFiles(tls, report);
  const ca = pem === undefined ? {} : { ca: [pem] };
  if (cert === undefined || key === undefined) return { tls: undefined, ca };
  return { tls: { ...parameters(tls), ...serverRules(tls), cert, key, ...ca }, ca };
}

/** What a listener's block says beside its certificate. */
export function serverRules(tls: ServerTlsConfig): Pick<ServerTls, 'rejectUnknownSNI' | 'serverNames'> {
  const { rejectUnknownSNI, serverNames } = tls;
  return {
    ...(rejectUnknownSNI !== undefined && { rejectUnknownSNI }),
    ...(serverNames !== undefined && { serverNames }),
  };
}

/** Of either side. */
export function parameters({ options }: Pick<ClientTlsConfig, 'options'>): TlsParameters {
  if (options === undefined) return {};
  const { minVersion, maxVersion, cipherSuites, alpn } = options;
  return {
    ...(minVersion !== undefined && { minVersion }),
    ...(maxVersion !== undefined && { maxVersion }),
    ...(cipherSuites !== undefined && { ciphers: cipherSuites.join(':') }),
    ...(alpn !== undefined && { alpn }),
  };
}

/** The texts of a block's files; what is wrong with one is reported at its key. */
function readFiles(
  tls: Files,
  report: Report,
): { ca?: string | undefined; cert?: string | undefined; key?: string | undefined } {
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
  return { ca, cert, key };
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
