import { PluginError } from '@sallyport/plugin';
import { systemWords } from '../../core/system-words.ts';

const words: Readonly<Record<string, string>> = {
  ...systemWords,
  ENFILE: 'too many open files (see ulimit -n)',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name (`hostname` says which one to look for)',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by nobody but itself',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is from an authority that is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is from an authority that is not trusted here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is from an authority that is not trusted here',
  EPROTO: 'it does not speak TLS as we do',
};

/** What went wrong below, as a PluginError: one that is, is kept; anything else is `unreachable`. */
export function unreachable(cause: unknown): PluginError {
  if (cause instanceof PluginError) return cause;
  const {
    code = '',
    message,
    reason,
  } = (cause ?? {}) as Partial<Record<'code' | 'message' | 'reason', string>>;
  // OpenSSL's own words are a line of numbers with a path of its source.
  const said = code.startsWith('ERR_SSL_') ? `${words['EPROTO']!} (${reason ?? code})` : words[code];
  return new PluginError('unreachable', said ?? (message || code || String(cause)), { cause });
}
