// Every module as a plugin on one port, which remembers what it is asked, in order.
import { EventEmitter, once } from 'node:events';
import { contracts, implement, servePlugins } from '@sallyport/plugin';
import type {
  contractByKind,
  Implementation,
  ModuleKind,
  PluginTransport,
  ServedCall,
} from '@sallyport/plugin';

/** What each module answers. A module without an answer here must not be asked; the question is answered with an error. */
export type Answers = {
  readonly [K in ModuleKind]?: Partial<Implementation<(typeof contractByKind)[K]['methods']>>;
};

/** One question: the method (`auth.authenticate`), and what was asked in our words, as it was read from the wire. */
export type Asked = readonly [method: string, ask: unknown];

/** A plugin server that runs. Whoever started it calls `close`. */
export interface Plugins {
  readonly port: number;
  /** The `plugin:` block of a configuration for one of the modules. */
  block(kind: ModuleKind, more?: object): Readonly<Record<string, unknown>>;
  /** What was asked since it was last taken, in order; of these modules only, where some are named. */
  take(...kinds: ModuleKind[]): Asked[];
  /** As `take`, for what comes by itself: waits, at most 10 seconds, until something was asked that satisfies. */
  takeUntil(kind: ModuleKind, enough: (asks: readonly unknown[]) => boolean): Promise<unknown[]>;
  /** All that was asked since the beginning, taken or not. */
  readonly history: readonly Asked[];
  /** What went wrong at the server: an unexpected question, an answer that threw, another transport. */
  readonly problems: readonly string[];
  close(): Promise<void>;
}

const token = 'token-of-the-plugins';

/** Serves all modules on one port, and counts only what comes over this transport as right. With a certificate it speaks TLS. */
export async function startPlugins(
  transport: PluginTransport,
  answers: Answers,
  port = 0,
  tls?: { readonly cert: string; readonly key: string },
): Promise<Plugins> {
  const arrivals = new EventEmitter().setMaxListeners(0);
  const problems: string[] = [];
  let asked: Asked[] = [];
  const history: Asked[] = [];
  const modules = contracts.map((contract) => {
    const own = (answers[contract.kind] ?? {}) as Record<string, (ask: unknown, call: ServedCall) => unknown>;
    const methods = Object.keys(contract.methods).map((name) => {
      const method = `${contract.kind}.${name}`;
      const answer = (ask: unknown, call: ServedCall): unknown => {
        asked.push([method, ask]);
        history.push([method, ask]);
        if (call.transport !== transport) problems.push(`${method} was asked over ${call.transport}`);
        arrivals.emit('asked');
        const reply = own[name];
        if (reply === undefined) throw new Error('nobody should ask this here');
        return reply(ask, call);
      };
      return [name, answer];
    });
    return implement(contract, Object.fromEntries(methods) as never);
  });
  const server = await servePlugins(modules, {
    port,
    token,
    ...(tls !== undefined && { tls }),
    onError: (error, method) => problems.push(`${method}: ${String(error)}`),
  });
  const take = (...kinds: ModuleKind[]) => {
    const isWanted = ([method]: Asked) =>
      kinds.length === 0 || kinds.includes(method.split('.')[0] as ModuleKind);
    const taken = asked.filter(isWanted);
    asked = asked.filter((one) => !isWanted(one));
    return taken;
  };
  return {
    port: (server.address as { port: number }).port,
    block: (kind, more) => ({ ...blockOf(transport, server.addr, kind, tls !== undefined), ...more }),
    take,
    async takeUntil(kind, enough) {
      const taken: unknown[] = take(kind).map(([, ask]) => ask);
      const signal = AbortSignal.timeout(10_000);
      while (!enough(taken)) {
        await once(arrivals, 'asked', { signal }).catch(() => {
          throw new Error(`${kind} was asked only ${JSON.stringify(taken)}`);
        });
        taken.push(...take(kind).map(([, ask]) => ask));
      }
      return taken;
    },
    history,
    problems,
    close: () => server.close(0),
  };
}

/** The `plugin:` block of a server that listens there. */
export function blockOf(
  transport: PluginTransport,
  addr: string,
  kind: ModuleKind,
  hasTls = false,
): Record<string, unknown> {
  return {
    type: transport,
    addr: transport === 'grpc' ? addr : `http${hasTls ? 's' : ''}://${addr}/${kind}`,
    token,
  };
}
