// What may be wrong with a plugin, and what is right again, for every module and both transports.
import { contractByKind } from '@sallyport/plugin';
import type { Contract, ModuleKind, PluginTransport } from '@sallyport/plugin';
import { createAuthority, faultsOf } from '@sallyport/plugin/testing';
import { createLinkFiles } from '../../../../interop/common/links.ts';
import { closeAll } from '../../../../interop/gost/programs.ts';
import { faultKinds } from './faults-table.ts';
import type { FaultKind } from './faults-table.ts';
import { blockOf, startPlugins } from './plugins.ts';
import type { Answers, Asked, Plugins } from './plugins.ts';

/** In time, with room for a busy machine. */
const slowMs = 100;

/** A fault, or something that is none. */
export type Condition = FaultKind | { readonly id: 'slow' | 'restarted' };
export const conditions: readonly Condition[] = [...faultKinds, { id: 'slow' }, { id: 'restarted' }];

/** Whether nobody may notice it. */
export function isFine({ id }: Condition): boolean {
  return id === 'slow' || id === 'restarted';
}

/** A plugin in one condition. */
export interface Started {
  /** Where it is, on 127.0.0.1; undefined: nowhere. */
  readonly port: number | undefined;
  /** Where it is when all is well again. */
  readonly healthyPort: number;
  /** What the log may call it. */
  readonly codes: readonly string[];
  /** The `plugin:` block for a gate that leads to either. */
  block(addr: string, more: object): Record<string, unknown>;
  /** Ends what misbehaves. */
  end(): Promise<void>;
}

/** Plugins in every condition. Whoever started them calls `close`. */
export interface Conditions {
  readonly healthy: Readonly<Record<PluginTransport, Plugins>>;
  start(kind: ModuleKind, transport: PluginTransport, condition: Condition): Promise<Started>;
  /** All that good plugins were asked over this transport. */
  history(transport: PluginTransport): readonly Asked[];
  close(): Promise<void>;
}

/** Starts the good plugins; the others are started for each row. */
export async function startConditions(told: Answers): Promise<Conditions> {
  const files = createLinkFiles();
  const closing: (() => unknown)[] = [() => files.remove()];
  const start = async (answers: Answers, tls?: { cert: string; key: string }) => {
    const plugins = {
      grpc: await startPlugins('grpc', answers, 0, tls),
      http: await startPlugins('http', answers, 0, tls),
    };
    closing.push(
      () => plugins.grpc.close(),
      () => plugins.http.close(),
    );
    return plugins;
  };
  const healthy = await start(told);
  const slow = await start(delayed(told));
  const trusted = await start(told, files.server);
  const stranger = await start(told, createAuthority().issue({ names: ['127.0.0.1'] }));
  return {
    healthy,
    async start(kind, transport, condition) {
      const plain = {
        healthyPort: healthy[transport].port,
        block: (addr: string, more: object) => ({ ...blockOf(transport, addr, kind), ...more }),
        end: () => Promise.resolve(),
        codes: [] as readonly string[],
      };
      if (condition.id === 'slow') return { ...plain, port: slow[transport].port };
      if (condition.id === 'restarted') return { ...plain, port: healthy[transport].port };
      if (condition.id === 'certificate') {
        const tls = { caFile: files.at('ca.pem'), serverName: '127.0.0.1' };
        return {
          ...plain,
          port: stranger[transport].port,
          healthyPort: trusted[transport].port,
          codes: ['unreachable'],
          block: (addr, more) => ({ ...blockOf(transport, addr, kind, true), tls, ...more }),
        };
      }
      const name = (condition as FaultKind)[transport];
      if (name === undefined) return { ...plain, port: undefined, codes: ['unreachable'] };
      const fault = faultsOf(contractByKind[kind] as unknown as Contract, transport).find(
        (one) => one.name === name,
      );
      if (fault === undefined) throw new Error(`no fault of ${kind} is called ${name}`);
      const server = await fault.start();
      return {
        ...plain,
        port: Number(server.addr.split(':')[1]),
        codes: fault.expected,
        end: () => server.close(),
      };
    },
    history: (transport) => [healthy, slow, trusted].flatMap((one) => one[transport].history),
    close: () => closeAll(closing),
  };
}

/** The same answers, late. */
function delayed(told: Answers): Answers {
  const late = (answer: (ask: unknown, call: unknown) => unknown) => async (ask: unknown, call: unknown) => {
    await new Promise((resolve) => setTimeout(resolve, slowMs));
    return answer(ask, call);
  };
  return Object.fromEntries(
    Object.entries(told).map(([kind, methods]) => [
      kind,
      Object.fromEntries(Object.entries(methods).map(([name, answer]) => [name, late(answer as never)])),
    ]),
  );
}
