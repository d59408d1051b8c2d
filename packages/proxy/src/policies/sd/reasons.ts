import { PluginError } from '@sallyport/plugin';
import type { PluginErrorCode } from '@sallyport/plugin';
import { systemWords } from '../../core/system-words.ts';

/** An error that Redis itself has said; the library's own class is not one that it exports for all of them. */
interface ReplyError extends Error {
  readonly name: 'ReplyError';
}

/** Whether Redis has answered, with an error. */
export function isReplyError(cause: unknown): cause is ReplyError {
  return cause instanceof Error && cause.name === 'ReplyError';
}

/** What the first word of Redis' errors means to us; all others are `internal`. */
const codes: Readonly<Record<string, PluginErrorCode>> = {
  NOAUTH: 'unauthenticated',
  WRONGPASS: 'unauthenticated',
  NOPERM: 'unauthenticated',
  LOADING: 'unreachable',
  BUSY: 'unreachable',
  MASTERDOWN: 'unreachable',
  READONLY: 'unreachable',
  CLUSTERDOWN: 'unreachable',
  TRYAGAIN: 'unreachable',
  MISCONF: 'unreachable',
  OOM: 'overloaded',
  NOREPLICAS: 'unreachable',
};

/**
 * What Redis has said, as a PluginError. The library's error is not kept as its cause: it holds the command with all of its
 * arguments, and so, where it is AUTH, the password.
 */
export function errorOfReply({ message }: ReplyError, endpoint: string): PluginError {
  const shown = message.length > 200 ? `${message.slice(0, 200)}…` : message;
  const word = /^[A-Z]+/.exec(message)?.[0] ?? '';
  let code = codes[word] ?? 'internal';
  // What has no word of its own.
  if (/max number of clients/i.test(message)) code = 'overloaded';
  else if (/\bAUTH\b/i.test(message)) code = 'unauthenticated';
  return new PluginError(code, `${endpoint} says: ${shown}`, { endpoint });
}

const words: Readonly<Record<string, string>> = {
  ...systemWords,
  ENOENT: 'there is no such socket',
  EACCES: 'the socket may not be used by us',
};

/** What went wrong below, as a PluginError: `unreachable`, or `badReply` where something answers that is no Redis. */
export function unreachable(cause: unknown, endpoint: string): PluginError {
  const { code = '', message = String(cause) } = (cause ?? {}) as { code?: string; message?: string };
  // What the library adds to the message of whatever it cannot read.
  if (message.includes('Please report this'))
    return new PluginError('badReply', `${endpoint}: what answers there is no Redis`, { endpoint });
  const why = words[code] ?? (/closed|writeable/i.test(message) ? 'the connection was closed' : message);
  return new PluginError('unreachable', `${endpoint}: ${why}`, { endpoint, cause });
}
