import type { PolicyOf } from '../../core/policies.ts';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import type { Cleanup, TestParts, TestProxy } from '../../core/http/proxy.fixture.ts';
import { http } from './index.ts';

export { Cleanup, connectPeer, startOrigin } from '../../core/http/proxy.fixture.ts';
export type { Peer, TestOrigin, TestProxy } from '../../core/http/proxy.fixture.ts';

/** Starts the HTTP proxy as the program does, with an auther or without. */
export function startProxy(
  cleanup: Cleanup,
  authenticate?: PolicyOf<'auth'>['authenticate'],
  parts: TestParts = {},
): Promise<TestProxy> {
  return startHandler(cleanup, http.handler!, {
    ...(authenticate !== undefined && { auth: { authenticate } }),
    ...parts,
  });
}
