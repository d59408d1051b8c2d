import {
  durationMs,
  flag,
  mapping,
  optional,
  present,
  required,
  sections,
  text,
  whole,
  word,
} from '../../schema/read.ts';
import type { Reader } from '../../schema/read.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { texts } from '../../schema/texts.ts';
import { checkBodyMatch } from '../../core/http/body-rules.ts';
import { compilePattern } from '../../core/http/template.ts';
import { gostKeys } from '../gost-names.ts';
import { connectorBlock, dialerBlock } from './blocks.ts';
import { credentials, dialAddress, forwardAddress, name, names, others } from './common.ts';
import type { Of } from './common.ts';
import { filter, filterFields, matcher, withoutUnusedFilter } from './matching.ts';
import { plugin } from './plugin.ts';
import { clientTls } from './tls.ts';

/** A pattern of a rule, in RE2's words as far as JavaScript has them. */
const pattern: Reader<RegExp> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined) return undefined;
  try {
    return compilePattern(written);
  } catch {
    reading.report.error(value.place, path, 'is no regular expression that can be read');
    return undefined;
  }
};

const rewriteUrl = mapping({ match: required(pattern), replacement: optional(text()) });

const bodyMatch: Reader<string> = (value, path, reading) => {
  const written = text()(value, path, reading);
  const wrong = written === undefined ? undefined : checkBodyMatch(written);
  if (wrong !== undefined) reading.report.error(value.place, path, wrong);
  return written;
};

const bodyRule = mapping({
  type: optional(text()),
  match: optional(bodyMatch),
  replacement: optional(text()),
  rewriter: optional(name),
  maxChunkBytes: optional(whole(1, 64 * 1024 * 1024), 'maxChunkSize'),
});

/** Statuses and classes of them: `429,5xx`. */
const failCodes: Reader<(status: number) => boolean> = (value, path, reading) => {
  const written = text()(value, path, reading);
  if (written === undefined) return undefined;
  const codes = new Set<string>();
  for (const code of written.split(',').map((part) => part.trim().toLowerCase())) {
    if (!/^([1-5]\d\d|[1-5]xx)$/.test(code)) {
      reading.report.error(
        value.place,
        path,
        'holds something that is neither a status (`429`) nor a class (`5xx`)',
      );
      return undefined;
    }
    codes.add(code);
  }
  return (status) => codes.has(String(status)) || codes.has(`${String(Math.floor(status / 100))}xx`);
};

/** How requests are changed on their way to a forwarder's node. */
const nodeHttp = mapping(
  {
    host: optional(text()),
    requestHeader: { ...optional(texts()), aliases: ['header'] },
    responseHeader: optional(texts()),
    rewriteUrl: { ...optional(sections(rewriteUrl), 'rewriteURL'), aliases: ['rewrite'] },
    rewriteResponseBody: { ...optional(sections(bodyRule)), aliases: ['rewriteBody'] },
    rewriteRequestBody: optional(sections(bodyRule)),
    failCodes: optional(failCodes),
    auth: present(credentials),
  },
  { unserved: [] },
);

/** What `metadata` of a node may hold, and what only GOST's may. */
export const nodeMetadata = {
  fields: {
    weight: optional(whole(0, 1_000_000)),
    backup: optional(flag()),
    maxFails: optional(whole(0)),
    failTimeoutMs: optional(metadataDurationMs(), 'failTimeout'),
  },
  unserved: ['interface', 'so_mark', 'netns', 'proxyProtocol', 'p2p'],
} as const;

const nodeCommon = {
  name: optional(name),
  addr: required(dialAddress),
  network: optional(word('network', ['tcp', 'udp'])),
  bypass: present(name),
  bypasses: present(names),
  filter: optional(filter),
  matcher: optional(matcher),
  http: optional(nodeHttp),
  tls: optional(clientTls),
  metadata: optional(mapping(nodeMetadata.fields, { unserved: nodeMetadata.unserved })),
};

/** A node of a hop: an address, and what is spoken there. */
export const node = withoutUnusedFilter(
  mapping(
    {
      ...nodeCommon,
      resolver: present(name),
      hosts: present(name),
      connector: optional(connectorBlock),
      dialer: optional(dialerBlock),
    },
    { unserved: ['probe', 'interface', 'netns', 'sockopts'] },
  ),
);

const forwarderNodeFields = mapping(
  {
    ...nodeCommon,
    addr: required(forwardAddress),
    // GOST's older spelling of what stands in `filter` and `http` now.
    ...filterFields,
    auth: present(credentials),
  },
  { unserved: ['probe', 'interface', 'netns', 'sockopts', 'connector', 'dialer'] },
);

/** A node of a forwarder: an address, and how requests are changed on their way there. */
const forwarderNode = withoutUnusedFilter(forwarderNodeFields);

/** How one of several is chosen. */
const selector = mapping(
  {
    strategy: optional(
      word(
        'strategy',
        ['round', 'rr', 'random', 'rand', 'fifo', 'ha', 'hash'],
        ['parallel', 'lowestlatency', 'lowest', 'll'],
      ),
    ),
    maxFails: optional(whole(0)),
    failTimeoutMs: optional(durationMs(), 'failTimeout'),
  },
  { unserved: ['maxLatency'] },
);

const hopFields = mapping(
  {
    name: optional(name),
    selector: optional(selector),
    bypass: present(name),
    bypasses: present(names),
    resolver: present(name),
    hosts: present(name),
    nodes: optional(sections(node)),
    plugin: present(plugin('hop')),
  },
  {
    unserved: others(
      gostKeys.hop,
      'name',
      'selector',
      'bypass',
      'bypasses',
      'resolver',
      'hosts',
      'nodes',
      'plugin',
    ),
  },
);

/** A hop: nodes of which one is chosen, or a plugin that names one. */
export const hop: Reader<HopConfig> = (value, path, reading) => {
  const found = hopFields(value, path, reading);
  if (found?.plugin !== undefined && found.nodes !== undefined) {
    reading.report.warn(
      found.keyAt('nodes'),
      `${path}.nodes`,
      'is not used, as in GOST, because a plugin is named',
    );
  }
  return found;
};

/** Hops of a chain, at least one, each with nodes of its own or a name: a hop that is none would be a direct connection. */
const chainHops: Reader<readonly HopConfig[]> = (value, path, reading) => {
  const found = sections(hop)(value, path, reading);
  if (value.kind === 'list' && value.items.length === 0)
    reading.report.error(value.place, path, 'is empty, so that connections would go directly; add a hop');
  for (const one of found ?? []) {
    if (['name', 'nodes', 'plugin'].some(one.has)) continue;
    reading.report.error(
      one.at(),
      one.path(),
      'is no hop: it needs `nodes`, a `plugin`, or the `name` of one of `hops`',
    );
  }
  return found;
};

/** A chain: hops, one after the other. */
export const chain = mapping(
  {
    name: required(name),
    hops: required(chainHops),
    /** Ours: what a hop without a node means. */
    onNoNode: optional(word('onNoNode', ['refuse', 'direct'])),
  },
  { unserved: ['selector', 'metadata'] },
);

const forwarderFields = mapping(
  {
    // `name` is GOST's older spelling.
    hop: { ...present(name), aliases: ['name'] },
    nodes: optional(sections(forwarderNode)),
    selector: optional(selector),
  },
  { unserved: ['hopGroup'] },
);

/** Where a service that forwards goes. */
export const forwarder: Reader<Of<typeof forwarderFields>> = (value, path, reading) => {
  const found = forwarderFields(value, path, reading);
  if (found?.hop === undefined) return found;
  for (const key of ['nodes', 'selector'] as const) {
    if (found[key] === undefined) continue;
    reading.report.warn(
      found.keyAt(key),
      `${path}.${key}`,
      'is not used, as in GOST, because a hop is named',
    );
  }
  return found;
};

export type NodeConfig = Of<typeof node>;
export type ForwarderNodeConfig = Of<typeof forwarderNode>;
export type HopConfig = Of<typeof hopFields>;
export type ChainConfig = Of<typeof chain>;
export type ForwarderConfig = Of<typeof forwarder>;
export type SelectorConfig = Of<typeof selector>;
export type NodeHttpConfig = Of<typeof nodeHttp>;
