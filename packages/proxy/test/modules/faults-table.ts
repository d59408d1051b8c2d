// What is expected of a proxy whose plugins fail, module by module and fault by fault, and how it is written down.
import type { ObserverEvent } from '@sallyport/plugin';
import type { Asked } from './plugins.ts';
import type { Way } from './visits.ts';

/** The ways in which these tests ask. */
export const faultWays = ['CONNECT', 'socks5', 'tcp'] as const satisfies readonly Way[];
export type FaultWay = (typeof faultWays)[number];

/** One module in one place. */
export interface FaultModule {
  readonly name: string;
  /** The module's word in the log; absent where nobody waits for it. */
  readonly kind:
    | 'admission'
    | 'auth'
    | 'bypass'
    | 'hop'
    | 'hosts'
    | 'resolver'
    | 'limiter'
    | 'rewriter'
    | 'recorder'
    | 'observer';
  /** What is done, in the words of the design's table. */
  readonly done: string;
  /** What the user gets, by the ways in which the module is asked. */
  readonly seen: Readonly<Partial<Record<FaultWay, string>>>;
  /** The host that is asked for; absent: an address. */
  readonly host?: string;
  /** The sections and keys that put a plugin there. */
  place(
    plugin: object,
    id: string,
  ): {
    readonly sections: Readonly<Record<string, readonly object[]>>;
    readonly service?: object;
    readonly handler?: object;
    readonly node?: object;
  };
  /** What is sent along; absent: nothing. */
  readonly body?: string;
  /** True for what was about this service, and arrives by itself when the plugin is back. */
  readonly arrives?: (asked: Asked, service: string) => boolean;
}

const nowhere = { CONNECT: 'HTTP 503', socks5: 'SOCKS5 3' } as const;
const untouched = { CONNECT: 'ok', socks5: 'ok' } as const;

export const faultModules: readonly FaultModule[] = [
  {
    name: 'admission',
    kind: 'admission',
    done: 'refused',
    seen: { CONNECT: 'closed', socks5: 'closed', tcp: 'closed' },
    place: (plugin, id) => ({ sections: { admissions: [{ name: id, plugin }] }, service: { admission: id } }),
  },
  {
    name: 'auther',
    kind: 'auth',
    done: 'refused, as for a wrong password',
    seen: { CONNECT: 'HTTP 407', socks5: 'credentials' },
    place: (plugin, id) => ({ sections: { authers: [{ name: id, plugin }] }, handler: { auther: id } }),
  },
  {
    name: 'bypass at a service',
    kind: 'bypass',
    done: 'refused',
    seen: { CONNECT: 'HTTP 403', socks5: 'SOCKS5 2' },
    place: (plugin, id) => ({ sections: { bypasses: [{ name: id, plugin }] }, service: { bypass: id } }),
  },
  {
    name: 'bypass at a hop',
    kind: 'bypass',
    done: 'refused, never direct',
    seen: nowhere,
    place: (plugin, id) => ({
      sections: {
        bypasses: [{ name: id, plugin }],
        chains: [{ name: id, hops: [{ name: id, bypass: id, nodes: [{ name: 'node', addr: 'NODE' }] }] }],
      },
      handler: { chain: id },
    }),
  },
  {
    name: 'bypass at a node',
    kind: 'bypass',
    done: 'refused, never direct',
    seen: nowhere,
    place: (plugin, id) => ({
      sections: {
        bypasses: [{ name: id, plugin }],
        chains: [{ name: id, hops: [{ name: id, nodes: [{ name: 'node', addr: 'NODE', bypass: id }] }] }],
      },
      handler: { chain: id },
    }),
  },
  {
    name: 'hop',
    kind: 'hop',
    done: 'refused, never direct',
    seen: nowhere,
    place: (plugin, id) => ({
      sections: { chains: [{ name: id, hops: [{ name: id, plugin }] }] },
      handler: { chain: id },
    }),
  },
  {
    name: 'hosts',
    kind: 'hosts',
    done: 'refused, never system DNS',
    seen: nowhere,
    host: 'hosts.test',
    place: (plugin, id) => ({ sections: { hosts: [{ name: id, plugin }] }, service: { hosts: id } }),
  },
  {
    name: 'resolver',
    kind: 'resolver',
    done: 'refused, never system DNS',
    seen: nowhere,
    host: 'resolver.test',
    place: (plugin, id) => ({ sections: { resolvers: [{ name: id, plugin }] }, service: { resolver: id } }),
  },
  {
    name: 'limiter',
    kind: 'limiter',
    done: 'no limit, one warning',
    seen: { ...untouched, tcp: 'ok' },
    place: (plugin, id) => ({ sections: { limiters: [{ name: id, plugin }] }, service: { limiter: id } }),
  },
  {
    name: 'rewriter',
    kind: 'rewriter',
    done: 'refused; nothing passes unchanged',
    seen: { tcp: 'HTTP 502' },
    body: 'fox',
    place: (plugin, id) => ({
      sections: { rewriters: [{ name: id, plugin }] },
      handler: { metadata: { sniffing: true } },
      node: { http: { rewriteRequestBody: [{ type: '*', match: '.*', rewriter: id }] } },
    }),
  },
  {
    name: 'recorder',
    kind: 'recorder',
    done: 'kept, and told when the plugin is back',
    seen: untouched,
    place: (plugin, id) => ({
      sections: { recorders: [{ name: id, plugin }] },
      service: { recorders: [{ name: id, record: 'recorder.service.handler' }] },
    }),
    arrives: ([method, ask], service) =>
      method === 'recorder.record' &&
      Buffer.from((ask as { data: Uint8Array }).data)
        .toString()
        .includes(`"service":"${service}"`),
  },
  {
    name: 'observer',
    kind: 'observer',
    done: 'counted on, and told when the plugin is back',
    seen: untouched,
    place: (plugin, id) => ({
      sections: { observers: [{ name: id, plugin }] },
      service: { observer: id, metadata: { enableStats: true, 'observer.period': '1s' } },
    }),
    arrives: ([method, ask], service) =>
      method === 'observer.observe' &&
      (ask as { events: readonly ObserverEvent[] }).events.some(
        (event) => event.service === service && event.type === 'status' && event.state === 'ready',
      ),
  },
];

/** One way in which a plugin fails. */
export interface FaultKind {
  /** For names of services and for the table. */
  readonly id: string;
  readonly title: string;
  /** By its name among those of `faultsOf`; absent: nobody is there, or somebody with a wrong certificate. */
  readonly grpc?: string;
  readonly http?: string;
}

export const faultKinds: readonly FaultKind[] = [
  { id: 'absent', title: 'absent: nobody listens' },
  {
    id: 'hung',
    title: 'hung: reads the question and never answers',
    grpc: 'hung: reads the question and never answers',
    http: 'hung: reads the question and never answers',
  },
  {
    id: 'trickling',
    title: 'trickling: an answer that comes byte by byte, without end',
    grpc: 'trickling message',
    http: 'trickling body',
  },
  {
    id: 'killed',
    title: 'killed when the question has come',
    grpc: 'closed when the question has come',
    http: 'closed when the question has come',
  },
  { id: 'cut', title: 'killed in the midst of its answer', grpc: 'reset mid-reply', http: 'reset mid-reply' },
  { id: 'garbage', title: 'garbage in place of the protocol', grpc: 'garbage', http: 'garbage' },
  {
    id: 'page',
    title: 'garbage in place of the answer',
    grpc: 'garbage for a message: a page',
    http: 'garbage for JSON',
  },
  { id: 'failing', title: 'says that it failed: INTERNAL, 500', grpc: 'status 13', http: 'status 500' },
  { id: 'unavailable', title: 'UNAVAILABLE, 503', grpc: 'status 14', http: 'status 503' },
  {
    id: 'token',
    title: 'wants another token: UNAUTHENTICATED, 401',
    grpc: 'a wrong token',
    http: 'a wrong token',
  },
  { id: 'certificate', title: 'shows a certificate of an authority that nobody trusts' },
];

/** What one row came to. */
export interface FaultResult {
  readonly module: string;
  readonly fault: string;
  readonly transport: 'grpc' | 'http';
  readonly way: FaultWay;
  /** What the user got. */
  readonly seen: string;
  /** What the log may call it, and called it. */
  readonly codes: readonly string[];
}

/** The page of results. */
export function faultsPage(results: readonly FaultResult[]): string {
  const distinct = (values: readonly string[]) => [...new Set(values)];
  const lines = [
    '# When a plugin fails',
    '',
    'Every module was asked through the real program while its plugin failed in each of these ways, over gRPC and over HTTP, with',
    '`timeout: 1s` in the `plugin:` block. Each time the outcome was there within the deadline, users of other modules noticed nothing, and',
    'within one second of the plugin’s return traffic was as before. A plugin that is slow but in time, or that is restarted between two',
    'questions, changes nothing for anybody. This page is written by `packages/proxy/test/modules/faults.test.ts`, which fails when it',
    'is not what happens.',
    '',
    '## What the log calls it',
    '',
    '<!-- prettier-ignore -->',
    '| The plugin is | gRPC | HTTP |',
    '| --- | --- | --- |',
    ...faultKinds.map(({ id, title }) => {
      const code = (transport: string) => {
        const own = results.filter((one) => one.fault === id && one.transport === transport);
        return distinct(own.flatMap(({ codes }) => codes).map((one) => `\`${one}\``)).join(' or ');
      };
      return `| ${title} | ${code('grpc')} | ${code('http')} |`;
    }),
    '',
    '## What happens',
    '',
    'By default; `onError` of the `plugin:` block says otherwise. It is the same for every row of the table above, and for both',
    'transports.',
    '',
    '<!-- prettier-ignore -->',
    '| Module | What is done | HTTP proxy | SOCKS5 proxy | Forwarder |',
    '| --- | --- | --- | --- | --- |',
    ...faultModules.map(({ name, done }) => {
      const own = results.filter((one) => one.module === name);
      const cell = (way: FaultWay) => {
        const seen = distinct(own.filter((one) => one.way === way).map((one) => words(one.seen)));
        return seen.join(' or ') || '–';
      };
      return `| ${name} | ${done} | ${cell('CONNECT')} | ${cell('socks5')} | ${cell('tcp')} |`;
    }),
    '',
  ];
  return lines.join('\n');
}

function words(outcome: string): string {
  return outcome
    .replace(/^HTTP (\d+)$/, '$1')
    .replace(/^SOCKS5 (\d+)$/, 'reply $1')
    .replace(/^credentials$/, 'status 1')
    .replace(/^closed$/, 'closed, no byte')
    .replace(/^ok$/, 'nothing');
}
