// The store of one server without a Redis. It is gone with the process, and no other server sees it.

const keptMs = 600_000;
const maxRules = 100_000;
const maxServices = 100_000;
const sweepEveryMs = 1_000;

/** Makes an empty store. A service counts for `ttlMs` after it was last heard of; `now` is a clock in milliseconds. */
export function createMemoryStore({ ttlMs = 45_000, now = () => performance.now() } = {}) {
  const rules = new Map();
  const services = new Map();
  const routes = new Map();
  let serviceCount = 0;
  let sweptAt = -Infinity;

  const forget = (name, key) => {
    const entries = services.get(name);
    if (entries?.delete(key) !== true) return;
    serviceCount--;
    if (entries.size === 0) services.delete(name);
  };
  const sweep = () => {
    // What is left full is not looked through again for every question.
    if (now() - sweptAt < sweepEveryMs) return;
    sweptAt = now();
    for (const [name, entries] of services)
      for (const [key, { until }] of entries) if (until <= now()) forget(name, key);
  };

  return {
    description: 'memory',

    async findRule(names) {
      return rules.get(names.find((name) => rules.has(name)));
    },

    async claimRule(names, { uuid, isPrivate }, changes) {
      const rule = rules.get(names.find((name) => rules.has(name)));
      if (rule !== undefined) {
        if (rule.replace('$', '') !== uuid) return 'the host belongs to another tunnel';
        if (rule.startsWith('$') || !isPrivate) return 'kept';
      }
      if (rules.size >= maxRules && !rules.has(names[0])) return 'there are too many rules';
      for (const [host, endpoint] of changes) rules.set(host, endpoint);
      return 'kept';
    },

    async putRules(changes) {
      for (const [host, endpoint] of changes) rules.set(host, endpoint);
    },

    async keepService({ id, name, node, network, address }) {
      const key = JSON.stringify([node, id]);
      const known = services.get(name)?.get(key);
      const isKnown = known !== undefined && now() < known.until + keptMs - ttlMs;
      const entry = {
        ...{ id, name, node },
        network: network === '' && isKnown ? known.service.network : network,
        address: address === '' && isKnown ? known.service.address : address,
      };
      if (entry.address === '') return 'nobody said at which address this service is';
      if (known === undefined) {
        if (serviceCount >= maxServices) sweep();
        if (serviceCount >= maxServices) return 'there are too many services';
        serviceCount++;
      }
      if (!services.has(name)) services.set(name, new Map());
      services.get(name).set(key, { service: entry, until: now() + ttlMs });
      return 'kept';
    },

    async forgetService({ id, name, node }) {
      forget(name, JSON.stringify([node, id]));
    },

    async findServices(name) {
      const entries = [...(services.get(name)?.values() ?? [])];
      return entries.filter(({ until }) => now() < until).map(({ service }) => service);
    },

    async findRoute(router, networks) {
      const table = routes.get(router);
      const network = networks.find((one) => table?.has(one));
      return network === undefined ? undefined : { network, gateway: table.get(network) };
    },

    async putRoute(router, network, gateway) {
      if (!routes.has(router)) routes.set(router, new Map());
      routes.get(router).set(network, gateway);
    },

    async close() {},
  };
}
