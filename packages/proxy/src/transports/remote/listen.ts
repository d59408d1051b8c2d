import { formatAddress } from '../../core/address.ts';
import type { Accept, Listening, RemoteListening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { withDeadline } from '../../core/reach.ts';
import type { BindRequest, Way } from '../../core/way.ts';

/** GOST's limit for reaching a node. */
const defaultBindMs = 15_000;

/** After a failure it is tried again; what a reload leaves to its successor is free within moments. */
const firstPauseMs = 100;

/** As GOST waits at most. */
const maxPauseMs = 5000;

/** The same failure is told again after so long. */
const tellAgainMs = 60_000;

/** Who is told of what comes. */
export interface RemoteTold {
  readonly accept: Accept;
  readonly problem: (error: ProxyError) => void;
  readonly inform: (text: string) => void;
}

/**
 * Keeps a listener at the far end of a way for as long as nobody closes it: where the far end cannot be reached, or goes, it
 * is asked again, after 0.1 s at first and 5 s at last. Each time it may take `bindMs`, by default 15 s. Resolves at once, as the far end may come later than we. Rejects with
 * ProxyError `unsupported` where the way has no far end that could listen.
 */
export function listenRemote(
  under: Way | undefined,
  request: BindRequest,
  { accept, problem, inform }: RemoteTold,
  bindMs = defaultBindMs,
): Promise<Listening> {
  if (under?.bind === undefined)
    return Promise.reject(new ProxyError('unsupported', 'self', 'there is no far end that could listen'));
  const closing = new AbortController();
  const { signal } = closing;
  let current: RemoteListening | undefined;
  let isPausing: (() => void) | undefined;
  const told = { message: '', atMs: 0 };
  let isReady!: () => void;
  const ready = new Promise<void>((resolve) => (isReady = resolve));

  const tell = (error: ProxyError) => {
    const now = Date.now();
    if (error.message === told.message && now - told.atMs < tellAgainMs) return;
    told.message = error.message;
    told.atMs = now;
    problem(error);
  };
  const pause = (failures: number) =>
    new Promise<void>((resolve) => {
      const most = Math.min(firstPauseMs * 2 ** failures, maxPauseMs);
      const timer = setTimeout(resolve, most * (0.5 + Math.random() / 2));
      isPausing = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const keep = async () => {
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        current = await withDeadline(
          signal,
          bindMs,
          () => request.address,
          (waited) => under.bind!({ ...request, problem: tell }, accept, { signal: waited }),
        );
        if (isClosed()) break;
        failures = 0;
        told.message = '';
        inform(current.name ?? `bound at ${formatAddress(current.address)}`);
        isReady();
        const error = await current.lost;
        current = undefined;
        if (!isClosed()) tell(error);
      } catch (cause) {
        if (!isClosed()) tell(ProxyError.from(cause));
        isReady();
      }
      if (!isClosed()) await pause(failures);
    }
    await current?.close();
  };
  // What an abort changes is not seen by the compiler.
  const isClosed = () => signal.aborted;
  const kept = keep();
  return Promise.resolve({
    address: request.address,
    ready,
    async close() {
      closing.abort();
      isPausing?.();
      await current?.close();
      // A bind that is under way is given up, or closed as soon as it is there.
      void kept;
    },
  });
}
