import type { CallEvent, Meta, PluginError } from '@sallyport/plugin';
import { onTestFinished } from 'vitest';
import { createResolver } from './resolver.ts';
import type { ResolverOptions } from './resolver.ts';

/** A resolver of a test, and what was observed of it. */
export interface TestResolver {
  /** Asks for a name; the answer, or the error as a value. */
  ask(host: string, network?: string, signal?: AbortSignal): Promise<readonly string[] | PluginError>;
  readonly events: CallEvent[];
  /** Of the last question that ended. */
  readonly meta: Meta;
  close(): void;
}

/** Makes a resolver that is closed when the test has finished. */
export function testResolver(options: ResolverOptions): TestResolver {
  const resolver = createResolver(options);
  onTestFinished(() => {
    resolver.close();
  });
  const events: CallEvent[] = [];
  let last: Meta = {};
  return {
    async ask(host, network = 'ip', signal) {
      const meta: Meta = {};
      try {
        return await resolver.resolve(
          { network, host, user: '' },
          { meta, signal, session: 's1', observe: (event) => events.push(event) },
        );
      } catch (error) {
        return error as PluginError;
      } finally {
        last = meta;
      }
    },
    events,
    get meta() {
      return last;
    },
    close() {
      resolver.close();
    },
  };
}
