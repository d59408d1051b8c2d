import type { Logger } from 'pino';
import { findIdentity } from '../../core/tls-identity.ts';
import type { ServerTls } from '../../core/tls.ts';
import type { Config } from '../merge.ts';
import type { ServerTlsConfig } from '../sections/tls.ts';
import { parameters, serverRules } from '../tls-files.ts';
import type { TlsFiles } from '../tls-files.ts';

/**
 * The certificates of a configuration's listeners: those that their blocks name, or the one at the top of the file, or
 * the one that is found or made as GOST's is.
 */
export function certificates(
  config: Config,
  files: TlsFiles,
  log: Logger,
): (tls: ServerTlsConfig | undefined) => ServerTls {
  let found: Pick<ServerTls, 'cert' | 'key'> | undefined;
  const fallback = (): Pick<ServerTls, 'cert' | 'key'> => {
    const top = config.tls === undefined ? undefined : files.server(config.tls);
    if (top !== undefined) return top;
    const { commonName, organization, validityMs } = config.tls ?? {};
    return (found ??= findIdentity({
      ...(commonName !== undefined && { commonName }),
      ...(organization !== undefined && { organization }),
      ...(validityMs !== undefined && { validityMs }),
      note: (text, level) => {
        log[level](text);
      },
    }));
  };
  return (tls) => {
    const own = tls === undefined ? undefined : files.server(tls);
    if (own !== undefined) return own;
    const identity = fallback();
    if (tls === undefined) return { cert: identity.cert, key: identity.key };
    return {
      ...parameters(tls),
      ...serverRules(tls),
      ...files.ca(tls),
      cert: identity.cert,
      key: identity.key,
    };
  };
}
