import { createForwarder } from '../../chain/chain.ts';
import { createHop } from '../../chain/hop.ts';
import type { NodeSpec } from '../../chain/node.ts';
import { defaultSelector } from '../../chain/selector.ts';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import type { Cleanup, TestParts, TestProxy } from '../../core/http/proxy.fixture.ts';
import type { NodeHttp, Seen } from '../../core/route.ts';
import { forward } from './index.ts';

export { Cleanup, connectPeer, startOrigin } from '../../core/http/proxy.fixture.ts';
export type { Peer, TestOrigin, TestProxy } from '../../core/http/proxy.fixture.ts';

/** Settings that change nothing. */
export const noHttp: NodeHttp = {
  host: '',
  requestHeader: [],
  responseHeader: [],
  rewriteUrl: [],
  rewriteRequestBody: [],
  rewriteResponseBody: [],
  failed: () => false,
  auth: undefined,
};

/** What a test says of a node. */
export type TestNode = Partial<NodeSpec> & { readonly port: number };

/** Starts a service that forwards to these nodes of this machine. */
export function startForward(
  cleanup: Cleanup,
  nodes: readonly TestNode[],
  metadata: Readonly<Record<string, unknown>> = {},
  parts: TestParts = {},
): Promise<TestProxy> {
  const hop = createHop({
    name: 'test',
    selector: { ...defaultSelector, strategy: 'fifo' },
    nodes: nodes.map(({ port, ...spec }, index) => ({
      name: `node-${String(index)}`,
      address: { host: '127.0.0.1', port },
      dialer: (under) => under,
      connector: { metadata: {}, connect: () => Promise.reject(new Error('not a chain')) },
      options: { metadata: {}, node: { host: '127.0.0.1', port } },
      ...spec,
    })),
  });
  return startHandler(cleanup, forward.handler!, { forwarder: createForwarder(hop), metadata, ...parts });
}

/** A node that is for what this says of a request. */
export function only(matches: (seen: Seen) => boolean): Pick<NodeSpec, 'matches'> {
  return { matches: ({ seen }) => seen !== undefined && matches(seen) };
}
