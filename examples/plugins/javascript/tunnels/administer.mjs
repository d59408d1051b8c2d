// What an administrator may do with the data in Redis: rules and routes, put, removed and listed.
import { parseEndpoint, parseNetwork, parseRuleHost } from './names.mjs';
import { parseRouter, rulesFor } from './policies.mjs';

/** Every command: its words, what it takes, and what it does. What it returns is printed. */
export const commands = [
  {
    usage: 'rule add HOST ENDPOINT',
    async run(store, host, endpoint) {
      const tunnel = parseEndpoint(endpoint);
      if (tunnel === undefined) throw new TypeError(`${endpoint} is no UUID of a tunnel, with or without $`);
      const rules = rulesFor(hostOf(host), tunnel);
      await store.putRules(rules);
      return rules.map(([name, to]) => `${name} ${to}`).join('\n');
    },
  },
  {
    usage: 'rule remove HOST',
    async run(store, host) {
      if (await store.removeRule(hostOf(host))) return `${hostOf(host)} is free`;
      throw new Error(`there is no rule of ${hostOf(host)}`);
    },
  },
  {
    usage: 'rule list',
    run: async (store) => listOf(await store.rules()),
  },
  {
    usage: 'route add ROUTER DST GATEWAY',
    async run(store, router, destination, gateway) {
      const network = networkOf(destination);
      if (!/^[\x21-\x7e]{1,253}$/.test(gateway))
        throw new TypeError('a gateway is a name or an address without spaces, of 253 characters at most');
      await store.putRoute(routerOf(router), network, gateway);
      return `${routerOf(router)} ${network} ${gateway}`;
    },
  },
  {
    usage: 'route remove ROUTER DST',
    async run(store, router, destination) {
      const network = networkOf(destination);
      if (await store.removeRoute(routerOf(router), network)) return `${network} is removed`;
      throw new Error(`the router has no route to ${network}`);
    },
  },
  {
    usage: 'route list ROUTER',
    run: async (store, router) => listOf(await store.routes(routerOf(router))),
  },
];

/** Runs the command that the words say. Throws a TypeError for words that are none, and what the store throws. */
export async function administer(store, words) {
  const [object, verb, ...rest] = words;
  const command = commands.find(
    ({ usage }) => usage.startsWith(`${object} ${verb} `) || usage === `${object} ${verb}`,
  );
  if (command === undefined) throw new TypeError(`there is no command ${words.join(' ')}: see --help`);
  if (rest.length !== command.usage.split(' ').length - 2)
    throw new TypeError(`the command is: ${command.usage}`);
  return command.run(store, ...rest);
}

function hostOf(text) {
  const host = parseRuleHost(text);
  if (host === undefined) throw new TypeError(`${text} is no host, and no *.host`);
  return host;
}

function networkOf(text) {
  const network = parseNetwork(text);
  if (network === undefined)
    throw new TypeError(`${text} is no network, such as 10.1.0.0/16, and no address`);
  return network;
}

function routerOf(text) {
  const router = parseRouter(text);
  if (router === undefined) throw new TypeError('the name of the router is too long');
  return router;
}

function listOf(table) {
  const lines = Object.entries(table).map(([key, value]) => `${key} ${value}`);
  return lines.sort().join('\n');
}
