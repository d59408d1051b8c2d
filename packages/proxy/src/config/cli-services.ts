import type { Value } from '../schema/parse.ts';
import type { Reading } from '../schema/read.ts';
import { isModuleUrl } from './cli-modules.ts';
import type { CliModules } from './cli-modules.ts';
import {
  credentialsOf,
  isServed,
  selectorOf,
  sidesOf,
  socketPath,
  spreadParams,
  tlsOf,
  warnUnused,
} from './cli-params.ts';
import { implied, listOf, mappingOf, mappingOrNothing, plain, scalar } from './cli-tree.ts';
import { expandAddresses, Params } from './cli-url.ts';
import type { CliUrl, Param, Part } from './cli-url.ts';
import { handlerMetadata, listenerMetadata, servedTypes } from './sections/blocks.ts';
import { serviceMetadata } from './sections/services.ts';

/** The parameters of `-L` that are no `metadata`. */
const own = [
  'auth',
  'auther',
  'admission',
  'bypass',
  'resolver',
  'prefer',
  'hosts',
  'limiter',
  'limiter.in',
  'limiter.out',
  'limiter.conn.in',
  'limiter.conn.out',
  'climiter',
  'rlimiter',
  'recorder',
  'observer',
  'rewriter',
  'hop',
  'retries',
  'strategy',
  'maxFails',
  'failTimeout',
  'certFile',
  'keyFile',
  'caFile',
];

/** Listeners whose name is, with forward targets, also the handler's, as in GOST. */
const namedAlike = ['tcp', 'udp', 'rtcp', 'rudp', 'tun', 'tap', 'dns', 'unix', 'runix', 'serial'];

/** Where services go on to. */
export interface CliChains {
  /** The chain of a service of this listener; undefined: it goes directly. */
  of(): string | undefined;
  /** The same nodes and then the one that a plugin names. */
  before(hop: Param): string;
}

/**
 * The services that one `-L` stands for, one for each port of a range:
 * `[handler+listener://][user:password@][host]:port[-port][/target[,target…]][?…]`. `name` numbers them.
 */
export function servicesOfUrl(
  url: CliUrl,
  name: () => string,
  chains: CliChains,
  lists: CliModules,
  reading: Reading,
): readonly Value[] {
  const { place } = url;
  const sides = sidesOf(url, 'handler', 'listener', 'auto', reading);
  if (sides === undefined) return [];
  const listener = sides.below;
  const byPath = url.schemes.some(({ text }) => ['unix', 'runix', 'serial'].includes(text));
  const isSocket = byPath && url.host.text === '';
  const targets = isSocket ? [] : targetsOf(url, byPath, reading);
  const handler = handlerOf(sides.above, listener, targets.length > 0);
  const handles = isServed('handler', handler, reading);
  if (!isServed('listener', listener, reading) || !handles) return [];
  const addresses = isSocket
    ? [url.path]
    : byPath
      ? [socketPath(url.host)]
      : expandAddresses(url.host, reading.report);
  if (targets.length > 1 && addresses.length > 1 && targets.length !== addresses.length) {
    const counts = `${String(addresses.length)} ports and ${String(targets.length)} targets`;
    reading.report.error(url.path.place, '', `${counts} do not pair up`);
  }

  const isFar = ['rtcp', 'rudp'].includes(listener.text);
  const params = new Params(url.params);
  const auth = credentialsOf(url, params, reading);
  const tls = tlsOf(params, []);
  const given = Object.fromEntries(params.left().map((param) => [param.key.toLowerCase(), param]));
  const selector = selectorOf(params);
  if (selector !== undefined && targets.length === 0)
    for (const key of ['strategy', 'maxfails', 'failtimeout'])
      warnUnused(given[key], 'it chooses among forward targets, and there are none', reading);
  const take = (key: string) => params.take(key);
  const [retries, prefer, resolver, hosts] = [
    take('retries'),
    take('prefer'),
    take('resolver'),
    take('hosts'),
  ];
  if (resolver === undefined || isModuleUrl(resolver))
    warnUnused(prefer, 'it says which addresses nameservers are asked for first', reading);
  const [admission, bypass, auther, hop, rewriter] = [
    take('admission'),
    take('bypass'),
    take('auther'),
    take('hop'),
    take('rewriter'),
  ];
  const whole = [take('limiter.in'), take('limiter.out')] as const;
  const each = [take('limiter.conn.in'), take('limiter.conn.out')] as const;
  const [limiter, climiter, rlimiter] = [take('limiter'), take('climiter'), take('rlimiter')];
  const [recorder, observer] = [take('recorder'), take('observer')];
  const scoped = {
    limiter: take('handler.limiter'),
    observer: take('handler.observer'),
  };
  const limits = whole[0] ?? whole[1] ?? each[0] ?? each[1];
  if (limiter !== undefined && limits !== undefined)
    reading.report.error(limiter.keyPlace, '', `\`limiter\` and \`${limits.key}\` exclude each other`);
  if (rewriter !== undefined && targets.length === 0)
    reading.report.error(rewriter.keyPlace, '', '`rewriter` is for forward targets, and there are none');
  // Modules that some handlers name among their own keys.
  const { fields } = handlerMetadata(handler.text);
  const named = Object.fromEntries(
    (['ingress', 'sd', 'router'] as const).map((module) => {
      const param = module in fields ? take(module) : undefined;
      return [module, param && lists.named(module, param)];
    }),
  );
  const metadata = spreadParams(
    params,
    {
      handler: handlerMetadata(handler.text),
      listener: listenerMetadata(listener.text),
      service: serviceMetadata,
    },
    own,
    reading,
  );

  return addresses.map((addr, index) => {
    const goesTo = targets.length > 1 && addresses.length > 1 ? targets.slice(index, index + 1) : targets;
    const forwards = goesTo.length > 0 || (hop !== undefined && namedAlike.includes(handler.text));
    return mappingOf(place, {
      name: implied(name(), place),
      addr: scalar(addr),
      admission: admission && lists.rules('admission', admission),
      bypass: bypass && lists.rules('bypass', bypass),
      resolver: resolver && lists.resolver(resolver, prefer),
      hosts: hosts && lists.hosts(hosts),
      limiter: limiter === undefined ? lists.trafficLimits(whole, each) : lists.named('limiter', limiter),
      climiter: climiter && lists.count('climiter', climiter),
      rlimiter: rlimiter && lists.count('rlimiter', rlimiter),
      observer: observer && lists.named('observer', observer),
      recorders:
        recorder &&
        listOf(recorder.place, [
          mappingOf(recorder.place, {
            name: lists.named('recorder', recorder),
            record: implied('recorder.service.handler', recorder.place),
          }),
        ]),
      handler: mappingOf(handler.place, {
        type: scalar(handler),
        retries: retries && plain(retries),
        chain: isFar ? undefined : chainOf(forwards ? undefined : hop),
        ...authersOf(auther),
        auth,
        limiter: scoped.limiter && lists.named('limiter', scoped.limiter),
        observer: scoped.observer && lists.named('observer', scoped.observer),
        metadata: mappingOrNothing(place, named, metadata.handler),
      }),
      listener: mappingOf(listener.place, {
        type: scalar(listener),
        // As in GOST: what listens at the far end of a chain has that chain.
        chain: isFar ? chainOf(undefined) : undefined,
        tls,
        metadata: mappingOrNothing(place, {}, metadata.listener),
      }),
      forwarder: forwards
        ? mappingOf(url.path.place, {
            hop: hop && lists.named('hop', hop),
            nodes:
              hop !== undefined || goesTo.length === 0
                ? undefined
                : listOf(
                    url.path.place,
                    goesTo.map((target, number) => nodeOf(target, number)),
                  ),
            selector,
          })
        : undefined,
      metadata: mappingOrNothing(place, {}, metadata.service),
    });
  });

  function chainOf(last: Param | undefined): Value | undefined {
    const chain = last === undefined ? chains.of() : chains.before(last);
    return chain === undefined ? undefined : implied(chain, last?.place ?? place);
  }

  function authersOf(param: Param | undefined): { auther?: Value; authers?: Value } {
    if (param === undefined) return {};
    if (isModuleUrl(param) || !param.text.includes(',')) return { auther: lists.named('auther', param) };
    const names = param.text.split(',').map((text) => implied(text, param.place));
    return { authers: listOf(param.place, names) };
  }

  function nodeOf(target: Part, number: number): Value {
    const rule = (param: Param) =>
      mappingOf(param.place, {
        rewriter: lists.named('rewriter', param),
        type: implied('*', param.place),
      });
    return mappingOf(target.place, {
      name: implied(`target-${String(number)}`, target.place),
      addr: scalar(target),
      http:
        rewriter &&
        mappingOf(rewriter.place, { rewriteResponseBody: listOf(rewriter.place, [rule(rewriter)]) }),
    });
  }
}

/** The forward targets of the path. */
function targetsOf({ path }: CliUrl, byPath: boolean, { report }: Reading): readonly Part[] {
  const text = path.text.replace(/^\/+|\/+$/g, '');
  const list = { text, place: path.place };
  if (text === '') return [];
  return byPath
    ? text.split(',').map((one) => socketPath({ ...list, text: one }))
    : expandAddresses(list, report);
}

function handlerOf(written: Part, listener: Part, forwards: boolean): Part {
  if (!forwards || written.text === 'relay') return written;
  const name = namedAlike.includes(listener.text) ? listener.text : 'forward';
  // GOST's handler `unix` goes to a target as `forward` does.
  const served: readonly string[] = servedTypes.handler;
  const same = name === 'unix' && !served.includes('unix') ? 'forward' : name;
  return { text: same, place: written.place };
}
