// What is expected of tunnels and virtual networks whose plugins fail, and how it is written down.
import { tunnelWays } from './tunnel-peers.ts';
import type { TunnelWay } from './tunnel-peers.ts';

/** What a visitor is told whose way has to be asked for. */
export const told: Readonly<Record<'ingress' | 'sd', Readonly<Record<TunnelWay, string>>>> = {
  ingress: { HTTP: 'HTTP 502', TLS: 'closed', relay: 'relay 7', CONNECT: 'relay 6' },
  sd: { HTTP: 'HTTP 503', TLS: 'closed', relay: 'relay 5', CONNECT: 'relay 5' },
};

/** What a site is told that wants to join where nobody can say whose its gateway is. */
export const toldSite = 'relay 5';

/** What one visit came to, of one module, fault and transport. */
export interface TunnelResult {
  readonly module: 'ingress' | 'sd';
  readonly way: TunnelWay;
  readonly seen: string;
}

/** The second part of docs/faults.md. `joining`: what sites were told. */
export function tunnelFaultsPage(results: readonly TunnelResult[], joining: readonly string[]): string {
  const distinct = (values: readonly string[]) => [...new Set(values)].map(words).join(' or ');
  const visitor = (module: TunnelResult['module'], done: string) => {
    const cells = tunnelWays.map((way) =>
      distinct(results.filter((one) => one.module === module && one.way === way).map(({ seen }) => seen)),
    );
    return `| ${done} | ${cells.join(' | ')} |`;
  };
  return [
    '',
    'The same faults, over both transports and with `timeout: 1s`, at a tunnel’s node and at a router. While a plugin hangs, clients',
    'register, visitors that have got in go on, visitors of tunnels that are here come in where only sd is gone, and whoever else comes',
    'is answered in time. With the plugin back everything is as before within a second. This part of the page is written by',
    '`packages/proxy/test/modules/tunnel-faults.test.ts`.',
    '',
    'What a visitor is told, by how it comes: to an entrypoint, or to the service itself (CONNECT).',
    '',
    '<!-- prettier-ignore -->',
    '| Asked | Entrypoint, HTTP | Entrypoint, TLS | Entrypoint, relay | Service, CONNECT |',
    '| --- | --- | --- | --- | --- |',
    visitor('ingress', 'ingress, GetRule: which tunnel a host leads to'),
    visitor('sd', 'sd, Get: which node has a tunnel that is not here'),
    '',
    '<!-- prettier-ignore -->',
    '| Asked or told | What is done | Who is concerned sees |',
    '| --- | --- | --- |',
    '| ingress, GetRule: whether a name that a client wants is free | not taken | the client is known by the sixteen characters of its tunnel |',
    '| ingress, SetRule | kept, and told when the plugin is back | nothing |',
    '| sd, Register, Renew, Deregister | kept, and told when the plugin is back, with all fields | nothing |',
    `| ingress, GetRule: whether a gateway belongs to a router | not let in | ${distinct(joining)} |`,
    '| router, GetRoute: where a packet goes | dropped; the next one asks again | a packet that was lost |',
    '| sd, Get: which node has a gateway that is not here | dropped; the next one asks again | a packet that was lost |',
    '',
  ].join('\n');
}

function words(outcome: string): string {
  return outcome
    .replace(/^HTTP (\d+)$/, '$1')
    .replace(/^relay (\d+)$/, 'status $1')
    .replace(/^closed$/, 'closed, no byte')
    .replace(/^ok$/, 'nothing');
}
