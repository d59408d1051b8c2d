// The virtual network that the suites of this folder build: who its sites are, what its programs are told, and how they are started,
// ours and GOST's alike.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Program } from '../../packages/proxy/test/program.ts';
import type { Host } from './netns.ts';

/** Why no network device can be made here; undefined: one can. */
export const missingDevices = existsSync('/dev/net/tun')
  ? undefined
  : 'there is no /dev/net/tun here, by which network devices are made';

export const launcher = fileURLToPath(new URL('../../packages/proxy/bin/sallyport.js', import.meta.url));
const pluginServer = fileURLToPath(new URL('../../examples/plugins/javascript/tunnels.mjs', import.meta.url));

/** The sites, by the name of their gateway and host. `own` is in the device's network, `behind` is a network of the site. */
export const sites = {
  ada: { own: '10.10.0.1', six: 'fd10::1', behind: '10.21.0.1' },
  bob: { own: '10.10.0.2', six: 'fd10::2', behind: '10.22.0.1' },
  eve: { own: '10.10.0.3', six: 'fd10::3', behind: '10.23.0.1' },
} as const;
export type SiteName = keyof typeof sites;
export const siteNames = Object.keys(sites) as SiteName[];

/** Starts the plugin server that has the network's routes, and that its nodes find each other by. */
export async function startPlugin(host: Host, router: string): Promise<Program> {
  const routes = siteNames.flatMap((name) => {
    const { own, six, behind } = sites[name];
    return [`${own}/32`, `${six}/128`, `${behind}/24`].flatMap((to) => [
      '--route',
      `${router} ${to} ${name}`,
    ]);
  });
  const program = host.start(process.execPath, [pluginServer, '--grpc', `${host.address}:8000`, ...routes]);
  await program.line(/listen/i);
  return program;
}

/** What a node of the network is told: sites join it by TCP, other nodes hand it packets by UDP. */
export function nodeOf(host: Host, plugin: Host): object {
  const ask = { plugin: { type: 'grpc', addr: `${plugin.address}:8000` } };
  const metadata = {
    ...{ router: 'routes', sd: 'sd', 'sd.renewInterval': '1s' },
    entrypoint: `${host.address}:8425`,
  };
  return {
    services: [{ name: 'router', addr: ':8424', handler: { type: 'router', metadata } }],
    routers: [{ name: 'routes', ...ask }],
    sds: [{ name: 'sd', ...ask }],
  };
}

/** What a site is told that joins there; of several nodes the first that can be reached. */
export function siteOf(
  name: string,
  nodes: Host | readonly Host[],
  { router, net }: { router: string; net: string },
): object {
  const chainNodes = [nodes].flat().map((node) => ({
    ...{ name: node.name, addr: `${node.address}:8424`, dialer: { type: 'tcp' } },
    connector: { type: 'router', metadata: { 'router.id': router } },
  }));
  return {
    services: [
      {
        ...{ name: 'site', addr: ':8423', handler: { type: 'tun', chain: 'network' } },
        listener: { type: 'tun', metadata: { name: 'net', net, routes: ['10.20.0.0/14'] } },
        forwarder: { nodes: [{ name: 'gateway', addr: name }] },
      },
    ],
    chains: [
      {
        name: 'network',
        hops: [{ name: 'node', selector: { strategy: 'fifo', failTimeout: '60s' }, nodes: chainNodes }],
      },
    ],
  };
}

/** The addresses of a site's device. */
export function netOf(name: SiteName): string {
  return `${sites[name].own}/24,${sites[name].six}/64`;
}

/** Starts our program with this configuration. */
export function startOurs(host: Host, config: object): Program {
  return host.start(process.execPath, [launcher, '-C', '-'], { input: JSON.stringify(config) });
}

/** True when an answer came within a second. */
export async function ping(from: Host, to: string): Promise<boolean> {
  return (await from.run('ping', ['-c', '1', '-W', '1', to])).code === 0;
}
