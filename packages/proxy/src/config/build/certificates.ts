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
  const { tls: top } = config;
  const fallback = (): Pick<ServerTls, 'cert' | 'key'> => {
    const whole = top === undefined ? undefined : files.server(top);
    if (whole !== undefined) return whole;
    const { commonName, organization, validityMs } = top ?? {};
    return (found ??= findIdentity({
      ...(commonName !== undefined && { commonName }),
      ...(organization !== undefined && { organization }),
      ...(validityMs !== undefined && { validityMs }),
      note: (text, level) => {
        log[level](text);
      },
    }));
  };
  const rulesOf = (block: ServerTlsConfig | undefined) =>
    block === undefined ? {} : { ...parameters(block), ...serverRules(block), ...files.ca(block) };
  return (tls) => {
    const own = tls === undefined ? undefined : files.server(tls);
    if (own !== undefined) return own;
    const { cert, key } = fallback();
    // As in GOST everything at the top counts for who has no certificate of its own, also of whom one is demanded.
    return { ...rulesOf(top), ...rulesOf(tls), cert, key };
  };
}
