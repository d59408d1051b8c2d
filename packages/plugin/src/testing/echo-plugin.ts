import { isDeepStrictEqual } from 'node:util';
import type { Contract, Implementation, Methods, PluginTransport, ServedCall } from '../contract.ts';
import { implement } from '../server/routes.ts';
import type { ServedModule } from '../server/routes.ts';
import { typicalSample } from './samples.ts';

/** One question that an {@link EchoPlugin} was asked. */
export interface EchoedAsk {
  readonly method: string;
  readonly ask: unknown;
  readonly transport: PluginTransport;
}

/** A plugin that remembers what it is asked and answers what it was told to. */
export interface EchoPlugin<M extends Methods = Methods> {
  /** For `servePlugins`. */
  readonly module: ServedModule;
  /** For another server, or for `inMemoryPlugin`. */
  readonly implementation: Implementation<M>;
  /** What it was asked since `forget`, in order. */
  readonly asked: readonly EchoedAsk[];
  /** From now on this question is answered so. A question that nobody expects gets the answer with every field filled. */
  expect(method: string, ask: unknown, answer: unknown): void;
  /** Back to the beginning. */
  forget(): void;
}

/** Makes a plugin of any contract for `serverConformance`: it shows there what arrived. It holds nothing that is to be closed. */
export function echoPlugin<M extends Methods>(contract: Contract<M>): EchoPlugin<M> {
  const asked: EchoedAsk[] = [];
  const expected: { readonly method: string; readonly ask: unknown; readonly answer: unknown }[] = [];
  const answers: Record<string, (ask: unknown, call: ServedCall) => unknown> = {};
  for (const method of Object.keys(contract.methods)) {
    const { answer: typical } = typicalSample(contract as unknown as Contract, method);
    answers[method] = (ask, { transport }) => {
      asked.push({ method, ask, transport });
      const told = expected.find((one) => one.method === method && isDeepStrictEqual(one.ask, ask));
      return told === undefined ? typical : told.answer;
    };
  }
  const implementation = answers as unknown as Implementation<M>;
  return {
    module: implement(contract, implementation),
    implementation,
    asked,
    expect: (method, ask, answer) => void expected.push({ method, ask, answer }),
    forget: () => {
      asked.length = 0;
      expected.length = 0;
    },
  };
}
