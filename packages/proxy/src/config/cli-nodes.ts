import type { Value } from '../schema/parse.ts';
import type { Reading } from '../schema/read.ts';
import { modules } from '../modules.ts';
import type { CliModules } from './cli-modules.ts';
import {
  credentialsOf,
  isServed,
  selectorOf,
  sidesOf,
  socketPath,
  spreadParams,
  tlsOf,
} from './cli-params.ts';
import { implied, listOf, mappingOf, mappingOrNothing, scalar } from './cli-tree.ts';
import { Params } from './cli-url.ts';
import type { CliUrl, Part } from './cli-url.ts';
import { connectorMetadata, dialerMetadata } from './sections/blocks.ts';
import { nodeMetadata } from './sections/nodes.ts';

/** The parameters of `-F` that are no `metadata`. */
const own = [
  'auth',
  'bypass',
  'resolver',
  'prefer',
  'hosts',
  'strategy',
  'maxFails',
  'failTimeout',
  'certFile',
  'keyFile',
  'caFile',
  'secure',
  'serverName',
];

/** What GOST's hops take and this version's do not. */
const hopMetadata = { fields: {}, unserved: ['interface', 'so_mark', 'netns', 'proxyProtocol'] };

/** The hop that one `-F` stands for: `[connector+dialer://][user:password@]host:port[,host:port…][?…]`. */
export function hopOfUrl(url: CliUrl, index: number, lists: CliModules, reading: Reading): Value | undefined {
  const { place } = url;
  const sides = sidesOf(url, 'connector', 'dialer', 'http', reading);
  if (sides === undefined) return undefined;
  const { above: connector, below: dialer } = sides;
  const connects = isServed('connector', connector, reading);
  if (!isServed('dialer', dialer, reading) || !connects) return undefined;
  const params = new Params(url.params);
  const auth = credentialsOf(url, params, reading);
  const selector = selectorOf(params);
  const prefer = params.take('prefer');
  const bypass = params.take('bypass');
  const resolver = params.take('resolver');
  const hosts = params.take('hosts');
  const tls = tlsOf(params, ['secure', 'serverName']);
  const layers = modules.stacks[dialer.text as keyof typeof modules.stacks];
  if (tls !== undefined && !layers.some(({ type }) => type === 'tls'))
    reading.report.warn(tls.place, '', `TLS parameters have no effect: dialer ${dialer.text} speaks no TLS`);
  const metadata = spreadParams(
    params,
    {
      connector: connectorMetadata(connector.text),
      dialer: dialerMetadata(dialer.text),
      node: nodeMetadata,
      hop: hopMetadata,
    },
    own,
    reading,
  );
  const nodes = addressesOf(url, dialer.text).map((addr, number) =>
    mappingOf(place, {
      name: implied(`node-${String(number)}`, place),
      addr: scalar(addr),
      connector: mappingOf(connector.place, {
        type: scalar(connector),
        auth,
        metadata: mappingOrNothing(place, {}, metadata.connector),
      }),
      dialer: mappingOf(dialer.place, {
        type: scalar(dialer),
        tls,
        metadata: mappingOrNothing(place, {}, metadata.dialer),
      }),
      metadata: mappingOrNothing(place, {}, metadata.node),
    }),
  );
  return mappingOf(place, {
    name: implied(`hop-${String(index)}`, place),
    selector,
    bypass: bypass && lists.rules('bypass', bypass),
    resolver: resolver && lists.resolver(resolver, prefer),
    hosts: hosts && lists.hosts(hosts),
    nodes: listOf(place, nodes),
    metadata: mappingOrNothing(place, {}, metadata.hop),
  });
}

function addressesOf({ host, path }: CliUrl, dialer: string): readonly Part[] {
  if (dialer !== 'unix') {
    const hosts = host.text.split(',').filter((one) => one !== '');
    return (hosts.length === 0 ? [''] : hosts).map((text) => ({ text, place: host.place }));
  }
  const text = host.text + (path.text === '/' ? '' : path.text);
  return [socketPath({ text, place: host.text === '' ? path.place : host.place })];
}
