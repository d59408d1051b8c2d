import { formatPlace } from '../schema/source.ts';
import type { Located } from '../schema/read.ts';
import type { Config } from './merge.ts';
import { readsHeaders } from './sections/blocks.ts';
import type { CompatSwitch } from './sections/compat.ts';
import type { ServiceConfig } from './sections/services.ts';
import { clientBlocks } from './tls-files.ts';

/**
 * Where this configuration means something else here than with GOST, one sentence for each difference, with the places that
 * it is about and the switch under `compat` that brings GOST's behaviour back. What is switched on is said as well, since it
 * opens a door.
 */
export function differences(config: Config): readonly string[] {
  const found: string[] = [];
  const add = (name: CompatSwitch, what: string, gost: string, where: readonly Located[]) => {
    if (where.length === 0) return;
    const places = where.slice(0, 3).map((one) => formatPlace(one.at()));
    if (where.length > 3) places.push(`and ${String(where.length - 3)} more`);
    const at = places.join(', ');
    found.push(
      config.compat.has(name)
        ? `as GOST (\`compat.${name}\`): ${gost} (${at})`
        : `unlike GOST: ${what} (${at}); \`compat: { ${name}: true }\` is as GOST`,
    );
  };
  const hops = [...config.hops, ...config.chains.flatMap(({ hops: own = [] }) => own)];
  const listeners = config.services.flatMap(({ listener }) => listener ?? []);

  add(
    'unverifiedTls',
    'who answers over TLS must show a certificate that we trust, as `secure` is not written',
    'who answers over TLS is not verified where `secure` is not written',
    [...clientBlocks(config)].filter((tls) => tls.secure === undefined),
  );
  add(
    'directWithoutNode',
    'where a hop has no node, or could not be asked, the connection is refused',
    'where a hop has no node, or could not be asked, the connection goes directly',
    config.chains.filter(({ onNoNode }) => onNoNode === undefined).length === 0
      ? []
      : hops.filter(({ plugin, nodes }) => plugin !== undefined || nodes?.length === 0),
  );
  add(
    'headerAddresses',
    'X-Forwarded-For and its kin do not say who connected, as `trustedProxies` is not written',
    'X-Forwarded-For and its kin say who connected, whoever sends them',
    listeners.filter(
      ({ type, metadata }) => readsHeaders(type) && metadata?.['trustedProxies'] === undefined,
    ),
  );
  add(
    'recordCredentials',
    'records hold no credentials of requests',
    'records hold `Authorization` and `Proxy-Authorization` as they are',
    config.services.filter(recordsRequests),
  );
  add(
    'gostRecord',
    '`Gost-Record` of a request does not say what is recorded',
    'a request that says `Gost-Record: off` is not recorded',
    config.services.filter(recordsRequests),
  );
  add(
    'gostTarget',
    '`Gost-Target` of a request does not say where it goes',
    'a request goes where its `Gost-Target` says, whatever its first line says',
    // Only clients of GOST's second version send it: beside every HTTP proxy the line would hide those that matter.
    config.compat.has('gostTarget') ? config.services.filter(isHttpProxy) : [],
  );
  return found;
}

function recordsRequests({ recorders = [] }: ServiceConfig): boolean {
  return recorders.some(({ record }) => record === 'recorder.service.handler');
}

function isHttpProxy({ handler }: ServiceConfig): boolean {
  return ['auto', 'http'].includes(handler?.type ?? 'auto');
}
