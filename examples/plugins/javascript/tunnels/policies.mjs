// What the three modules answer, from whichever store they are given. Every input is bounded here, so that a store only ever
// sees texts of a known size; what is not taken is said in the answer's reason.
import { contractByKind, implement } from '@sallyport/plugin';
import {
  isOwnName,
  networksOf,
  ownNameOf,
  parseAddress,
  parseEndpoint,
  parseHost,
  parseUuid,
  ruleNamesOf,
} from './names.mjs';

/** The longest id, node and address of a service, in characters; a name is a UUID, or a site and a UUID. */
const maxTextLength = { id: 256, name: 512, node: 256, network: 32, address: 300 };
const maxRouterLength = 256;

/** A router's name as routes have it: UUIDs in one spelling, other names as they are. Undefined where it is too long. */
export function parseRouter(text) {
  return text.length > maxRouterLength ? undefined : (parseUuid(text) ?? text);
}

/** The rules that a private or public endpoint stands for: one that is private closes the tunnel's own name, too. */
export function rulesFor(host, { uuid, isPrivate }) {
  const rules = [[host, `${isPrivate ? '$' : ''}${uuid}`]];
  if (isPrivate && host !== ownNameOf(uuid)) rules.push([ownNameOf(uuid), `$${uuid}`]);
  return rules;
}

/** The three modules, for `servePlugins`. The store stays the caller's, who closes it. */
export function createTunnelModules(store) {
  return [
    implement(contractByKind.ingress, createIngress(store)),
    implement(contractByKind.sd, createDiscovery(store)),
    implement(contractByKind.router, createRouter(store)),
  ];
}

function createIngress(store) {
  return {
    async getRule({ host }, call) {
      const name = parseHost(host);
      const rule = name === undefined ? undefined : await store.findRule(ruleNamesOf(name));
      if (rule === undefined)
        call.meta.reason = name === undefined ? 'this is no host' : 'no rule has this host';
      return rule;
    },

    async setRule({ host, endpoint }, call) {
      const name = parseHost(host);
      const tunnel = parseEndpoint(endpoint);
      const outcome =
        name === undefined
          ? 'this is no host; names with * are for the administrator'
          : tunnel === undefined
            ? 'the endpoint is no UUID'
            : isOwnName(name) && name !== ownNameOf(tunnel.uuid)
              ? 'sixteen hexadecimal digits are the own name of another tunnel'
              : await store.claimRule(ruleNamesOf(name), tunnel, rulesFor(name, tunnel));
      if (outcome !== 'kept') call.meta.reason = outcome;
      return outcome === 'kept';
    },
  };
}

function createDiscovery(store) {
  // A renewal is told what a registration is told, or less: either makes the entry, or makes it last.
  const keep = async (service, call) => {
    const outcome = problemOf(service) ?? (await store.keepService(service));
    if (outcome !== 'kept') call.meta.reason = outcome;
  };
  return {
    register: keep,
    renew: keep,

    async deregister(service, call) {
      const problem = problemOf(service);
      if (problem === undefined) await store.forgetService(service);
      else call.meta.reason = problem;
    },

    async get({ name }, call) {
      const services = name.length > maxTextLength.name ? [] : await store.findServices(name);
      if (services.length === 0) call.meta.reason = 'nothing of this name is registered';
      return services;
    },
  };
}

function problemOf(service) {
  for (const [key, most] of Object.entries(maxTextLength))
    if (service[key].length > most) return `the ${key} is longer than ${String(most)} characters`;
  return service.id === '' || service.name === '' ? 'a service has a name and an id' : undefined;
}

function createRouter(store) {
  return {
    async getRoute({ destination, router }, call) {
      const address = parseAddress(destination);
      const name = parseRouter(router);
      const isQuestion = address !== undefined && name !== undefined;
      const route = isQuestion ? await store.findRoute(name, networksOf(address)) : undefined;
      if (route === undefined)
        call.meta.reason = address === undefined ? 'this is no address' : 'no route leads there';
      return route;
    },
  };
}
