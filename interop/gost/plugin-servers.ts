// Every module served by our SDK on one port, over gRPC and HTTP, remembering what GOST asked.
import assert from 'node:assert/strict';

import { EventEmitter, once } from 'node:events';
import { contracts, implement, servePlugins } from '@sallyport/plugin';
import type {
  contractByKind,
  Implementation,
  ModuleKind,
  PluginTransport,
  ServerTls,
} from '@sallyport/plugin';

/** What each module answers. What a test does not say is answered by nobody, and fails the test that asks it. */
export type Answers = {
  readonly [K in ModuleKind]?: Partial<Implementation<(typeof contractByKind)[K]['methods']>>;
};

/** One question: in our words, as the contract read it from the wire, and how it came. */
interface Asked {
  readonly method: string;
  readonly ask: unknown;
  readonly transport: PluginTransport;
}

/** Plugins that are being served for a GOST. Whoever opened them calls `close`. */
export interface PluginServers {
  /** The `plugin:` block of a configuration for one of the modules. */
  plugin(kind: ModuleKind): Readonly<Record<string, unknown>>;
  /** What was asked of a method (`auth.authenticate`) since it was last taken, in order. */
  take(method: string): unknown[];
  /** As `take`, for what comes by itself: waits, at most 15 seconds, until something was asked that satisfies. */
  takeUntil(method: string, enough: (asks: readonly unknown[]) => boolean): Promise<unknown[]>;
  /** Drops all that was asked until now, but for one method. */
  forget(except?: string): void;
  /** Rejects when a question came over the other transport, or when an answer threw. */
  close(): Promise<void>;
}

const token = 'secret-of-the-plugins';
const waitMs = 15_000;

/** Serves the modules for GOST's `type: grpc` or `type: http`. */
export async function startPlugins(
  transport: PluginTransport,
  answers: Answers,
  tls?: ServerTls,
): Promise<PluginServers> {
  const arrivals = new EventEmitter();
  let asked: Asked[] = [];
  const problems: string[] = [];

  const modules = contracts.map((contract) => {
    const own = answers[contract.kind] as Record<
      string,
      ((ask: unknown, call: unknown) => unknown) | undefined
    >;
    const methods = Object.keys(contract.methods).map((name) => {
      const method = `${contract.kind}.${name}`;
      const answer = (ask: unknown, call: { transport: PluginTransport }) => {
        asked.push({ method, ask, transport: call.transport });
        if (call.transport !== transport) problems.push(`${method} was asked over ${call.transport}`);
        arrivals.emit('asked');
        const answer = own?.[name];
        assert.ok(answer, 'this test has no answer');
        return answer(ask, call);
      };
      return [name, answer];
    });
    return implement(contract, Object.fromEntries(methods));
  });
  const server = await servePlugins(modules, {
    port: 0,
    token,
    tls,
    onError: (error, method) => problems.push(`${method}: ${String(error)}`),
  });

  const take = (method: string) => {
    const taken = asked.filter((one) => one.method === method);
    asked = asked.filter((one) => one.method !== method);
    return taken.map(({ ask }) => ask);
  };
  return {
    plugin(kind) {
      const base = `http${tls === undefined ? '' : 's'}://${server.addr}`;
      const addr = transport === 'grpc' ? server.addr : `${base}/${kind}`;
      return { type: transport, addr, token, ...(tls && { tls: { secure: true, serverName: 'localhost' } }) };
    },
    take,
    async takeUntil(method, enough) {
      const taken = take(method);
      const signal = AbortSignal.timeout(waitMs);
      while (!enough(taken)) {
        await once(arrivals, 'asked', { signal }).catch(() => {
          assert.fail(`${method} was asked only ${JSON.stringify(taken)}`);
        });
        taken.push(...take(method));
      }
      return taken;
    },
    forget: (except) => void (asked = asked.filter((one) => one.method === except)),
    async close() {
      await server.close(0);
      assert.deepEqual(problems, []);
    },
  };
}
