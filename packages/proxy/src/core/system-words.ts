/** What the codes of failed connections mean, for people: what is the same for every peer. */
export const systemWords = {
  ECONNREFUSED: 'nothing listens there (connection refused)',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no route to it',
  ETIMEDOUT: 'it did not answer',
  ENOTFOUND: 'the system does not know its name',
  EAI_AGAIN: 'the system could not look up its name',
  EMFILE: 'too many open files (see ulimit -n)',
} as const;
