// The store that any number of servers share. What stands where in Redis is written in ../tunnels.mjs. Each question is one
// command, so a cluster, a proxy or a replica set in front of Redis is as good; time is Redis' own.
import { PluginError } from '@sallyport/plugin';

const keptMs = 600_000;
const maxRules = 100_000;
const maxServicesOfName = 1_000;
// A proxy waits 1 s for most answers; ours must be there before, also when it is "could not ask".
const commandTimeoutMs = 400;
const connectTimeoutMs = 1_000;
// A connection on which nothing comes for so long is replaced: a machine that was switched off says no goodbye.
const silenceMs = 1_500;
const longestWaitMs = 1_000;

/** KEYS: the rules. ARGV: the UUID, `$` or nothing, so many rules at most, so many pairs, pairs to write, names to look under. */
const claimRule = `
local pairs_end = 4 + 2 * tonumber(ARGV[4])
local names = { unpack(ARGV, pairs_end + 1) }
local found = redis.call('HMGET', KEYS[1], unpack(names))
for i = 1, #names do
  local rule = found[i]
  if rule then
    local is_private = string.sub(rule, 1, 1) == '$'
    if string.lower(is_private and string.sub(rule, 2) or rule) ~= ARGV[1] then
      return 'the host belongs to another tunnel'
    end
    if is_private or ARGV[2] == '' then return 'kept' end
    break
  end
end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) and not found[1] then return 'there are too many rules' end
redis.call('HSET', KEYS[1], unpack(ARGV, 5, pairs_end))
return 'kept'`;

/** The time in milliseconds; an entry as a table, or nil for what is none. */
const entries = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function read(text)
  local ok, entry = pcall(cjson.decode, text)
  if not ok or type(entry) ~= 'table' or type(entry['until']) ~= 'number' then return end
  if type(entry.network) == 'string' and type(entry.address) == 'string' then return entry end
end`;

/** KEYS: the services of a name. ARGV: which, network, address, how long it counts, how long it is kept, so many at most. */
const keepService = `${entries}
local network, address, ttl, kept = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local text = redis.call('HGET', KEYS[1], ARGV[1])
local known = text and read(text)
if known and now < known['until'] - ttl + kept then
  if network == '' then network = known.network end
  if address == '' then address = known.address end
end
if address == '' then return 'nobody said at which address this service is' end
if not text then
  local all = redis.call('HGETALL', KEYS[1])
  local limit = #all / 2 >= tonumber(ARGV[6]) and now or now + ttl - kept
  local count = #all / 2
  for i = 1, #all, 2 do
    local entry = read(all[i + 1])
    if not entry or entry['until'] <= limit then
      redis.call('HDEL', KEYS[1], all[i])
      count = count - 1
    end
  end
  if count >= tonumber(ARGV[6]) then return 'there are too many services of this name' end
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode({ network = network, address = address, ['until'] = now + ttl }))
redis.call('PEXPIRE', KEYS[1], kept)
return 'kept'`;

/** KEYS: the services of a name. Answers the time, and field, value, field, value, … */
const findServices = `${entries}
return { now, redis.call('HGETALL', KEYS[1]) }`;

/** What a `redis://`, `rediss://` or `unix:` address says. Throws a TypeError that does not repeat it: it may hold a password. */
export function parseRedisAddress(text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const { protocol = '', hostname = '', port = '' } = url ?? {};
  const isSocket = protocol === 'unix:';
  if (!isSocket && protocol !== 'redis:' && protocol !== 'rediss:')
    throw new TypeError(
      'write redis://user:password@host:port/database, rediss://… or unix:/path?db=database',
    );
  const database = isSocket ? (url.searchParams.get('db') ?? '') : url.pathname.slice(1);
  if (!/^\d{0,5}$/.test(database)) throw new TypeError('the database of Redis is a number');
  if (!isSocket && hostname === '') throw new TypeError('the address of Redis has no host');
  const db = Number(database);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    description: isSocket
      ? `unix:${url.pathname}?db=${String(db)}`
      : `${protocol}//${hostname}:${port === '' ? '6379' : port}/${String(db)}`,
    options: {
      ...(isSocket
        ? { path: decodeURIComponent(url.pathname) }
        : { host, port: port === '' ? 6379 : Number(port) }),
      ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
      ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
      ...(protocol === 'rediss:' ? { tls: { servername: host } } : {}),
      db,
    },
  };
}

/**
 * Opens the store. It connects by itself, again and again; while it is not connected, each question ends in PluginError
 * `unreachable` at once, and none is kept for later. `inform` is told when Redis goes and comes. `timeoutMs` is the deadline
 * of one command. Whoever opens the store closes it.
 */
export async function openRedisStore(
  address,
  { prefix = 'sallyport:tunnels:', ttlMs = 45_000, timeoutMs = commandTimeoutMs, inform = () => {} } = {},
) {
  const { description, options } = parseRedisAddress(address);
  const { Redis } = await import('ioredis').catch((cause) => {
    throw new Error('a store in Redis needs the package ioredis: npm install ioredis', { cause });
  });
  const redis = new Redis({
    ...options,
    commandTimeout: timeoutMs,
    connectTimeout: connectTimeoutMs,
    socketTimeout: Math.max(silenceMs, 2 * timeoutMs),
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) =>
      Math.min(longestWaitMs, 25 * 2 ** Math.min(times, 10)) * (0.5 + Math.random() / 2),
    // After a failover the old address may lead to what is a replica now.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
    scripts: {
      tunnelsClaimRule: { lua: claimRule, numberOfKeys: 1 },
      tunnelsKeepService: { lua: keepService, numberOfKeys: 1 },
      tunnelsFindServices: { lua: findServices, numberOfKeys: 1 },
    },
  });

  let said = '';
  let problem = 'it closed the connection';
  redis.on('error', ({ message }) => (problem = message));
  redis.on('close', () => {
    if (said !== problem) inform(`Redis at ${description} cannot be asked: ${problem}`);
    said = problem;
    problem = 'it closed the connection';
  });
  redis.on('ready', () => {
    if (said !== '') inform(`Redis at ${description} answers again`);
    said = '';
  });

  const ask = async (command) => {
    try {
      return await command;
    } catch (cause) {
      throw storeError(cause);
    }
  };
  const rulesKey = `${prefix}ingress`;
  const servicesKey = (name) => `${prefix}sd:${name}`;
  const routesKey = (router) => `${prefix}routes:${router}`;
  const fieldOf = ({ id, node }) => JSON.stringify([node, id]);

  return {
    description,

    /** Resolves when Redis answers, or with false when it did not in this time. */
    async opened(waitMs) {
      if (redis.status === 'ready') return true;
      return new Promise((resolve) => {
        const settle = (isOpen) => {
          clearTimeout(timer);
          redis.removeListener('ready', onReady);
          resolve(isOpen);
        };
        const onReady = () => settle(true);
        const timer = setTimeout(() => settle(false), waitMs);
        redis.once('ready', onReady);
      });
    },

    async findRule(names) {
      const found = await ask(redis.hmget(rulesKey, ...names));
      return found.find((rule) => rule !== null);
    },

    async claimRule(names, { uuid, isPrivate }, changes) {
      const pairs = [String(maxRules), String(changes.length), ...changes.flat()];
      return ask(redis.tunnelsClaimRule(rulesKey, uuid, isPrivate ? '$' : '', ...pairs, ...names));
    },

    async putRules(changes) {
      await ask(redis.hset(rulesKey, ...changes.flat()));
    },

    async keepService(service) {
      const values = [fieldOf(service), service.network, service.address];
      const bounds = [ttlMs, keptMs, maxServicesOfName].map(String);
      return ask(redis.tunnelsKeepService(servicesKey(service.name), ...values, ...bounds));
    },

    async forgetService(service) {
      await ask(redis.hdel(servicesKey(service.name), fieldOf(service)));
    },

    async findServices(name) {
      const [now, flat] = await ask(redis.tunnelsFindServices(servicesKey(name)));
      const services = [];
      for (let i = 0; i < flat.length; i += 2) {
        const { until, ...service } = serviceOf(name, flat[i], flat[i + 1]) ?? { until: 0 };
        if (now < until) services.push(service);
      }
      return services;
    },

    async findRoute(router, networks) {
      const found = await ask(redis.hmget(routesKey(router), ...networks));
      const at = found.findIndex((gateway) => gateway !== null);
      return at < 0 ? undefined : { network: networks[at], gateway: found[at] };
    },

    async putRoute(router, network, gateway) {
      await ask(redis.hset(routesKey(router), network, gateway));
    },

    /** For the administrator: all rules, as host and endpoint; and one away, true where there was one. */
    rules: async () => ask(redis.hgetall(rulesKey)),
    removeRule: async (host) => (await ask(redis.hdel(rulesKey, host))) > 0,
    routes: async (router) => ask(redis.hgetall(routesKey(router))),
    removeRoute: async (router, network) => (await ask(redis.hdel(routesKey(router), network))) > 0,

    async close() {
      redis.removeAllListeners('close');
      redis.disconnect();
    },
  };
}

/** What a field and its value say; undefined for what somebody else wrote there. */
function serviceOf(name, field, value) {
  try {
    const [node, id] = JSON.parse(field);
    const { network, address, until } = JSON.parse(value);
    const isService = [node, id, network, address].every((text) => typeof text === 'string');
    return isService && typeof until === 'number' ? { id, name, node, network, address, until } : undefined;
  } catch {
    // It is no JSON, and so it is none of ours.
    return undefined;
  }
}

/** What Redis itself says while it cannot serve: it loads, it is a replica, it is full, it does not know us. */
const cannotServe =
  /\b(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|OOM|MISCONF|NOAUTH|WRONGPASS|NOPERM)\b/;

function storeError(cause) {
  const { name, message } = cause;
  const isAnswer = name === 'ReplyError' && !cannotServe.test(message);
  return isAnswer
    ? new PluginError('internal', `Redis refused the command: ${message}`, { cause })
    : new PluginError('unreachable', `Redis cannot be asked: ${message}`, { cause });
}
