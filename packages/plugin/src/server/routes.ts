import { createMethodCodec } from '../codec.ts';
import type { MethodCodec } from '../codec.ts';
import type { Contract, Implementation, Methods, ServedCall } from '../contract.ts';

/** A contract and the functions that answer it, as `implement` makes them. */
export interface ServedModule {
  readonly contract: Contract;
  readonly implementation: Readonly<Record<string, Answer>>;
}

/** A method of an implementation, whatever it asks and answers. */
export type Answer = (ask: unknown, call: ServedCall) => unknown;

/** One method of one module, ready to be asked over either transport. */
export interface Route {
  readonly module: ServedModule;
  readonly name: string;
  readonly codec: MethodCodec<unknown, unknown>;
  answer(ask: unknown, call: ServedCall): unknown;
}

/** Where each method is found. */
export interface Routes {
  readonly modules: readonly ServedModule[];
  /** By `/proto.Service/Method`. */
  readonly grpc: ReadonlyMap<string, Route>;
  /** By path, then by verb. */
  readonly http: ReadonlyMap<string, ReadonlyMap<string, Route>>;
}

/**
 * Says which functions answer a contract. Each method is given the question with every field filled, and a call whose
 * signal fires when the asker has gone; it answers, or promises to. What it throws is told to the asker without its text:
 * a PluginError `unreachable` (of a database that is gone, say), `timeout` or `overloaded` as UNAVAILABLE, DEADLINE_EXCEEDED
 * or RESOURCE_EXHAUSTED, over HTTP as 503, 504 or 429; all else as INTERNAL or 500.
 */
export function implement<M extends Methods>(
  contract: Contract<M>,
  implementation: Implementation<M>,
): ServedModule {
  for (const name of Object.keys(contract.methods)) {
    if (typeof (implementation as Record<string, unknown>)[name] !== 'function')
      throw new TypeError(`${contract.kind}: the implementation lacks the function ${name}`);
  }
  return {
    contract: contract as unknown as Contract,
    implementation: implementation as unknown as Readonly<Record<string, Answer>>,
  };
}

/** Throws a TypeError where nothing or a module twice is to be served. */
export function createRoutes(modules: readonly ServedModule[]): Routes {
  if (modules.length === 0)
    throw new TypeError('there is nothing to serve: give servePlugins at least one implement(…)');
  const grpc = new Map<string, Route>();
  const http = new Map<string, Map<string, Route>>();
  for (const module of modules) {
    const { contract, implementation } = module;
    const verbs = new Map<string, Route>();
    if (http.has(`/${contract.kind}`)) throw new TypeError(`${contract.kind} is served twice`);
    for (const name of Object.keys(contract.methods)) {
      const codec = createMethodCodec(contract, name) as MethodCodec<unknown, unknown>;
      // Called as a method, so that an implementation may be an object that uses `this`.
      const route: Route = { module, name, codec, answer: (ask, call) => implementation[name]!(ask, call) };
      grpc.set(codec.grpc.path, route);
      verbs.set(codec.http.verb, route);
    }
    http.set(`/${contract.kind}`, verbs);
  }
  const only = [...http.values()];
  if (only.length === 1) http.set('/', only[0]!);
  return { modules, grpc, http };
}

/** What is served, in the words of each transport, for whoever asked for something else. */
export function describeRoutes({ modules, grpc, http }: Routes): {
  readonly grpc: string;
  readonly http: string;
} {
  const paths = [...http].filter(([path]) => path !== '/' || modules.length > 1);
  return {
    grpc: [...grpc.keys()].join(', '),
    http: paths.flatMap(([path, verbs]) => [...verbs.keys()].map((verb) => `${verb} ${path}`)).join(', '),
  };
}
