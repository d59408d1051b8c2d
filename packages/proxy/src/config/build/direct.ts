import { ProxyError } from '../../core/errors.ts';
import type { Way } from '../../core/way.ts';
import { modules } from '../../modules.ts';

/** Connections over tcp, datagrams over udp, unix sockets by their path; its far end is this machine. */
export function directWay(): Way {
  const { stacks } = modules;
  const tcp = stacks.tcp[0].wrap(undefined, { metadata: {} });
  const udp = stacks.udp[0].wrap(undefined, { metadata: {} });
  const unix = stacks.unix[0].wrap(undefined, { metadata: {} });
  return {
    dial: (to, context) => (to.port === 0 ? unix : tcp).dial(to, context),
    packets: (to, context) => udp.packets!(to, context),
    async bind({ network, address, peerTtlMs: ttlMs }, accept) {
      const [layer] = stacks[network];
      const way = layer.wrap(undefined, { metadata: ttlMs === undefined ? {} : { ttlMs } });
      const listening = await way.listen!(address, accept, () => undefined);
      return { ...listening, lost: new Promise<never>(() => undefined) };
    },
    async close() {
      await Promise.all([tcp.close(), udp.close(), unix.close()]);
    },
  };
}

/** Asks in nobody's name, and tells nobody: for what is no client's. */
export const undecided = {
  async decide<A>({ ask }: { ask(call: { meta: object }): Promise<A> | A }): Promise<A> {
    try {
      return await ask({ meta: {} });
    } catch (error) {
      throw ProxyError.from(error);
    }
  },
};
