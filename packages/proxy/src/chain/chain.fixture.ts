import { memoryConnPair } from '../core/memory-conn.fixture.ts';
import { formatAddress } from '../core/address.ts';
import { ProxyError } from '../core/errors.ts';
import type { Connector } from '../core/protocol.ts';
import type { Decider, RouteRequest } from '../core/route.ts';
import type { Context, Way } from '../core/way.ts';
import type { NodeSpec } from './node.ts';

/** A session's asking, without a session. */
export const decider: Decider = {
  async decide({ ask }) {
    try {
      return await ask({ meta: {} });
    } catch (error) {
      throw new ProxyError('couldNotAsk', 'plugin', String(error));
    }
  },
};

export const context: Context = { signal: new AbortController().signal };

export function request(more: Partial<RouteRequest> = {}): RouteRequest {
  const target = { host: 'target.test', port: 443 };
  const client = { host: '192.0.2.1', port: 1000 };
  return { network: 'tcp', target, host: target, client, user: '', service: 's', ...more };
}

/** A way that leads anywhere and writes down where it was asked to. Hosts in `dead` refuse. */
export function pretendWay(dead: ReadonlySet<string> = new Set()) {
  const dialled: string[] = [];
  const way: Way = {
    dial(to) {
      dialled.push(formatAddress(to));
      if (dead.has(to.host))
        return Promise.reject(new ProxyError('dialFailed', 'upstream', 'refused', { retryable: true }));
      return Promise.resolve(memoryConnPair()[0]);
    },
    close: () => Promise.resolve(),
  };
  return { way, dialled };
}

/** A node whose connector writes down what it was asked for. */
export function pretendNode(name: string, more: Partial<NodeSpec> = {}) {
  const asked: string[] = [];
  let stacks = 0;
  let closed = 0;
  const connector: Connector = {
    metadata: {},
    connect(node, target) {
      asked.push(formatAddress(target));
      return Promise.resolve(node);
    },
  };
  const address = { host: `${name}.test`, port: 8080 };
  const spec: NodeSpec = {
    ...{ name, address, connector },
    options: { metadata: {}, node: address },
    dialer(under) {
      stacks++;
      return { ...under, close: () => Promise.resolve(void closed++) };
    },
    ...more,
  };
  return {
    spec,
    asked,
    get stacks() {
      return stacks;
    },
    get closed() {
      return closed;
    },
  };
}
