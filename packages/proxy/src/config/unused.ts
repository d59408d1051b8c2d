import { modules } from '../modules.ts';
import type { Located } from '../schema/read.ts';
import type { Report } from '../schema/report.ts';
import type { Config } from './merge.ts';
import { keysOf, protocolOf } from './sections/blocks.ts';
import type { NodeConfig } from './sections/nodes.ts';
import type { ServerTlsConfig } from './sections/tls.ts';

/** Handlers and connectors that speak TLS within themselves. */
const speaksTls: ReadonlySet<string> = new Set(['socks5', 'auto']);

/** What may stand in a file, and has no effect where it stands: whoever wrote it should know. */
export function warnUnused(config: Config, report: Report): void {
  const warn = (of: Located, key: string, message: string) => {
    const place = of.keyAt(key);
    // Of what a command line comes to, whoever read that has said it in its words.
    const isSaid = report.warnings.some(
      (said) => said.place.source === place.source && said.place.offset === place.offset,
    );
    if (!isSaid) report.warn(place, `${of.path()}.${key}`, message);
  };
  for (const { handler, listener, metadata } of config.services) {
    if (handler?.tls !== undefined && !speaksTls.has(protocolOf(handler.type)?.type ?? ''))
      warn(handler, 'tls', `is not used by handler \`${handler.type}\`; a listener's \`tls\` is elsewhere`);
    if (listener?.tls !== undefined && !hasTls(listener.type))
      warn(listener, 'tls', `is not used: nothing is encrypted by listener \`${listener.type}\``);
    for (const tls of [handler?.tls, listener?.tls]) if (tls !== undefined) warnIdentity(tls);
    for (const one of [metadata, handler?.metadata]) {
      if (one?.has('limiter.cleanupInterval') === true)
        warn(one, 'limiter.cleanupInterval', 'is not needed: what is kept of limits is bounded');
    }
  }
  const hops = [...config.hops, ...config.chains.flatMap((chain) => chain.hops ?? [])];
  for (const node of hops.flatMap((hop) => hop.nodes ?? [])) warnNode(node);

  function warnNode({ dialer, connector }: NodeConfig): void {
    if (dialer?.tls !== undefined && !hasTls(dialer.type))
      warn(dialer, 'tls', `is not used: nothing is encrypted by dialer \`${dialer.type}\``);
    if (connector?.tls !== undefined && !speaksTls.has(protocolOf(connector.type)?.type ?? ''))
      warn(
        connector,
        'tls',
        `is not used by connector \`${connector.type}\`; a dialer's \`tls\` is elsewhere`,
      );
    const [lowest, ...above] = stackOf(dialer?.type ?? 'tcp');
    const read = above.flatMap((layer) => keysOf(layer.dialer));
    for (const key of lowest === undefined ? [] : keysOf(lowest.dialer)) {
      if (dialer?.metadata?.has(key) === true && !read.includes(key))
        warn(
          dialer.metadata,
          key,
          'is not served for nodes by this version; connections are kept alive after 15 s',
        );
    }
  }

  function warnIdentity(tls: ServerTlsConfig): void {
    for (const key of ['commonName', 'organization', 'validity']) {
      if (tls.has(key)) warn(tls, key, 'counts only in `tls` at the top of the file');
    }
  }
}

function stackOf(type: string) {
  return type in modules.stacks ? modules.stacks[type as keyof typeof modules.stacks] : [];
}

function hasTls(type: string): boolean {
  return stackOf(type).some((layer) => layer.type === 'tls');
}
