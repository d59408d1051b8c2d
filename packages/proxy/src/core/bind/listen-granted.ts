import type { Address, End, Listening } from '../conn.ts';
import type { Session } from '../session.ts';
import type { BindRequest } from '../way.ts';
import { serveVisitor } from './serve-visitor.ts';

/** A socket in a client's name, of which the client has been told. Whoever asked for it closes it. */
export interface GrantedListening<Ways> {
  readonly listening: Listening;
  /** Those who have come, and all who come, are met by this from now on. */
  begin(ways: Ways): void;
}

/**
 * Binds in a client's name and tells the client so (`granted`). Visitors that come meanwhile wait until it is known by what they
 * are met. Rejects with ProxyError as {@link Session.bind}, and with what `granted` rejects with, the socket being closed.
 */
export async function listenGranted<Ways>(
  session: Session,
  request: BindRequest,
  granted: (bound: Address) => Promise<void>,
  meet: (ways: Ways, who: Address) => End,
): Promise<GrantedListening<Ways>> {
  let begin!: (ways: Ways) => void;
  let fail!: (error: unknown) => void;
  const begun = new Promise<Ways>((resolve, reject) => {
    begin = resolve;
    fail = reject;
  });
  // Nobody may have come by then.
  begun.catch(() => undefined);
  const listening = await session.bind(request, (end, visitor) =>
    serveVisitor(end, visitor, async (who) => meet(await begun, who)),
  );
  try {
    await granted(listening.address);
  } catch (error) {
    fail(error);
    await listening.close();
    throw error;
  }
  return { listening, begin };
}
