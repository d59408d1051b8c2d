#!/usr/bin/env node
// What the nodes of a tunnel share: which tunnel serves which host (ingress), which node holds which tunnel (sd), and where a
// private network's packets go (router). One program serves all three, over gRPC and HTTP, to any number of Sallyport and
// GOST nodes; any number of it may run on one Redis, as it keeps nothing itself. Elsewhere: npm install @sallyport/plugin ioredis
//
// What stands in Redis (or Valkey), after the prefix "sallyport:tunnels:". It may be read and written by hand, too.
//
//   ingress        a hash: host → the tunnel's UUID, with $ in front for a private one. Hosts are lower case, without port;
//                  ".example.com" is the rule of example.com and of all below it. The nearest name wins.
//   sd:NAME        a hash, one a tunnel or site: ["NODE","ID"] → {"network":"tcp","address":"host:port","until":MS}, with `until` in
//                  Redis' own clock. What is not renewed in --sd-ttl (45 s) counts no more. It is kept for 10 minutes, because GOST's
//                  renewals do not say the address: one that comes late finds it here.
//   routes:ROUTER  a hash, one a router: network → gateway, "10.1.0.0/16" → "site-a". The longest prefix wins. ROUTER is the UUID
//                  in lower case, or empty for a TUN service.
//
// Who may set a rule: a host belongs to the tunnel that set it first, until an administrator removes it, and so does a host
// under somebody's wildcard. Sixteen hexadecimal digits are the own name of one tunnel and are set by that one alone. A
// private rule never becomes a public one; it makes the tunnel's own name private, too.
import { parseArgs } from 'node:util';
import { servePlugins } from '@sallyport/plugin';
import { administer, commands } from './tunnels/administer.mjs';
import { createTunnelModules } from './tunnels/policies.mjs';
import { createMemoryStore } from './tunnels/store-memory.mjs';
import { openRedisStore, parseRedisAddress } from './tunnels/store-redis.mjs';

const help = `Usage: node tunnels.mjs [OPTIONS]            serves ingress, sd and router
${commands.map(({ usage }) => `       node tunnels.mjs --redis ADDRESS ${usage}`).join('\n')}

  --grpc ADDRESS     listen here: host:port, port 0 for any, or unix:/path (default 127.0.0.1:8000)
  --http ADDRESS     and here; either address answers gRPC and HTTP alike
  --token TEXT       what askers must send; also in the variable TUNNELS_TOKEN
  --redis ADDRESS    redis://user:password@host:port/database, rediss://… or unix:/path?db=database; also in TUNNELS_REDIS.
                     Without it the data are kept in memory, and are gone with the process
  --rule TEXT        "HOST ENDPOINT", and --route "ROUTER DST GATEWAY": what stands in memory from the beginning; repeatable
  --prefix TEXT      what all keys in Redis begin with (default sallyport:tunnels:)
  --sd-ttl TIME      how long a service counts after it was last heard of (default 45s)
  --help             this text

HOST may be *.example.com; ENDPOINT is a tunnel's UUID, $UUID for a private one; ROUTER a router's UUID, or "".
`;

const { values, positionals } = read();
if (values.help) process.stdout.write(help);
else if (positionals.length > 0) await runCommand();
else await serve();

/** The command line. A wrong one ends the program with 2. */
function read() {
  try {
    const parsed = parseArgs({
      allowPositionals: true,
      options: {
        grpc: { type: 'string' },
        http: { type: 'string' },
        token: { type: 'string', default: process.env.TUNNELS_TOKEN },
        redis: { type: 'string', default: process.env.TUNNELS_REDIS },
        rule: { type: 'string', multiple: true, default: [] },
        route: { type: 'string', multiple: true, default: [] },
        prefix: { type: 'string', default: 'sallyport:tunnels:' },
        'sd-ttl': { type: 'string', default: '45s' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (parsed.values.redis !== undefined) parseRedisAddress(parsed.values.redis);
    return parsed;
  } catch (error) {
    return fail(2, error.message);
  }
}

function fail(code, message) {
  console.error(`tunnels: ${message}`);
  process.exit(code);
}

function parseTime(text) {
  const [, number, unit] =
    /^(\d{1,9})(ms|s|m)$/.exec(text) ?? fail(2, `--sd-ttl is a time such as 45s, not ${text}`);
  const ms = Number(number) * { ms: 1, s: 1_000, m: 60_000 }[unit];
  return ms >= 1 && ms <= 300_000 ? ms : fail(2, '--sd-ttl lies between 1ms and 5m');
}

/** Where to listen, as `servePlugins` has it. */
function parseListen(flag, text) {
  if (text.startsWith('unix:')) return { path: text.slice('unix:'.length) };
  const [, host, digits] = /^(.*):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (!(port <= 65_535)) fail(2, `--${flag} is host:port or unix:/path, not ${text}`);
  return { host: host.replace(/^\[(.*)\]$/, '$1') || '0.0.0.0', port };
}

async function runCommand() {
  if (values.redis === undefined)
    fail(2, 'a command needs --redis: what a server keeps in memory is its own');
  const store = await openRedisStore(values.redis, { prefix: values.prefix, timeoutMs: 5_000 });
  try {
    if (!(await store.opened(3_000))) fail(1, `Redis at ${store.description} cannot be reached`);
    console.log(await administer(store, positionals));
  } catch (error) {
    fail(error instanceof TypeError ? 2 : 1, error.message);
  } finally {
    await store.close();
  }
}

/** Puts into memory what the command line says. Into Redis the commands put it. */
async function fill(store) {
  const given = [
    ...values.rule.map((text) => ['rule', text]),
    ...values.route.map((text) => ['route', text]),
  ];
  if (given.length > 0 && values.redis !== undefined)
    fail(
      2,
      '--rule and --route are for a store in memory; for Redis there are the commands rule add and route add',
    );
  for (const [object, text] of given)
    await administer(store, [object, 'add', ...text.split(' ')]).catch(({ message }) => fail(2, message));
}

async function serve() {
  const at = Object.entries({ grpc: values.grpc, http: values.http }).filter(
    ([, text]) => text !== undefined,
  );
  if (at.length === 0) at.push(['grpc', '127.0.0.1:8000']);
  const listen = at.map(([flag, text]) => [flag, parseListen(flag, text)]);
  const ttlMs = parseTime(values['sd-ttl']);
  const isOpen = listen.some(([, { host }]) => host !== undefined && !/^(127\.|::1$|localhost$)/.test(host));
  if (isOpen && !values.token)
    console.error('tunnels: without --token everybody who gets here may set rules');

  const inform = (text) => console.error(`tunnels: ${text}`);
  const store =
    values.redis === undefined
      ? createMemoryStore({ ttlMs })
      : await openRedisStore(values.redis, { prefix: values.prefix, ttlMs, inform });
  await fill(store);
  // Where Redis is away, it is served all the same: each question is answered "could not ask" until it is there.
  await store.opened?.(2_000);

  const modules = createTunnelModules(store);
  const servers = [];
  const close = async () => {
    await Promise.all(servers.map((server) => server.close()));
    await store.close();
  };
  try {
    for (const [, where] of listen)
      servers.push(
        await servePlugins(modules, {
          ...where,
          token: values.token,
          maxRequestBytes: 1024 * 1024,
          // That Redis is away has been said once, and not for each question.
          onError: (error, method) => {
            if (error.code !== 'unreachable') inform(`${method} failed: ${error.message}`);
          },
        }),
      );
  } catch (error) {
    await close();
    fail(1, error.message);
  }
  const where = listen.map(([flag], i) => `${flag}=${servers[i].addr}`).join(' ');
  console.log(`tunnels listening ${where} data=${store.description}`);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, close);
}
