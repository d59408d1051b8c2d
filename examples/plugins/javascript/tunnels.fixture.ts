// How tunnels.mjs is run and what it must do, whatever holds its data: for the tests here, which need no Redis, and those of
// interop/redis, which bring one.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connectPlugin, contractByKind } from '@sallyport/plugin';
import type { PluginTransport, SdService } from '@sallyport/plugin';

/** Where tunnels.mjs stands. */
export const tunnelsPath = fileURLToPath(new URL('tunnels.mjs', import.meta.url));
/** What the servers of the tests ask for. */
export const token = 'gost';

/** A tunnels.mjs that runs. Whoever started it calls `stop`. */
export interface TunnelsProgram {
  /** Its two addresses, `127.0.0.1:port`. */
  readonly grpc: string;
  readonly http: string;
  /** What it printed when it listened. */
  readonly line: string;
  /** What it has written to standard error so far. */
  readonly log: () => string;
  /** Ends it with SIGTERM; resolves with its exit code. */
  stop(): Promise<number | null>;
}

/** Starts one on ports of the system's choice. `node` are arguments of Node itself. */
export async function startTunnels(
  args: readonly string[],
  node: readonly string[] = [],
): Promise<TunnelsProgram> {
  const listen = ['--grpc', '127.0.0.1:0', '--http', '127.0.0.1:0', '--token', token];
  const child = spawn(process.execPath, [...node, tunnelsPath, ...listen, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const printed = once(createInterface(child.stdout), 'line') as Promise<[string]>;
  const line = await Promise.race([
    printed.then(([text]) => text),
    exited.then(([code]) => Promise.reject(new Error(`tunnels.mjs ended with ${String(code)}: ${log}`))),
  ]);
  const addressOf = (flag: string): string => new RegExp(`${flag}=(\\S+)`).exec(line)![1]!;
  return {
    ...{ line, grpc: addressOf('grpc'), http: addressOf('http') },
    log: () => log,
    async stop() {
      child.kill('SIGTERM');
      const [code] = await exited;
      return code;
    },
  };
}

/** What a node asks: the three modules of one server, over one transport. Whoever connected closes it. */
export function connectTunnels(program: TunnelsProgram, transport: PluginTransport) {
  const options = { transport, addr: program[transport], token };
  const ingress = connectPlugin(contractByKind.ingress, options);
  const sd = connectPlugin(contractByKind.sd, options);
  const router = connectPlugin(contractByKind.router, options);
  return {
    ...{ ingress, sd, router },
    close: async (): Promise<void> =>
      void (await Promise.all([ingress, sd, router].map((plugin) => plugin.close(0)))),
  };
}

/** A node's view of a server. */
export type Tunnels = ReturnType<typeof connectTunnels>;

/** The tunnel of the given wildcard rules, and a private one. */
const given = '0b5f4c5a-98c8-4b4e-8d35-60a1ed0e5e6f';
const givenPrivate = '7c1a5e0c-3f0a-4c54-9a3b-0f4b6c3a2d11';
const network = 'f5c2a1de-7f5b-4a53-8f63-0a8c3a4de001';

/** What stands in the store from the beginning: words of `rule add` and `route add`. */
export const givenRules = [
  ['*.given.test', given],
  ['near.given.test', `{${givenPrivate.toUpperCase()}}`],
  ['*.closed.test', `$${givenPrivate}`],
] as const;
export const givenRoutes = [
  [network, '0.0.0.0/0', 'site-default'],
  [network.toUpperCase(), '10.1.2.3/8', 'site-10'],
  [network, '10.1.2.0/24', 'site-10-1-2'],
  [network, '10.1.2.3', 'site-host'],
  [network, '2001:DB8:0::/32', 'site-v6'],
  ['', '10.0.0.0/8', '10.0.0.1'],
] as const;

/** A question with nothing beside it; what the server says beside the answer is lost. */
export const ask = (): { readonly meta: { reason?: string } } => ({ meta: {} });

/** The 16 digits under which GOST's servers reach a tunnel. */
export const ownNameOf = (uuid: string): string => createHash('md5').update(uuid).digest('hex').slice(0, 16);

/** A service with all fields, of a name that nobody else uses. */
export function serviceOf(more: Partial<SdService> = {}): SdService {
  const address = '192.0.2.1:8443';
  return {
    ...{ id: randomUUID(), name: randomUUID(), node: randomUUID(), network: 'tcp', address },
    ...more,
  };
}

/** What GOST's renewals and farewells say of it. */
export const short = (service: SdService): SdService => ({ ...service, network: '', address: '' });

/** One thing that must hold, asked by two nodes which have the same data. */
export interface TunnelsCase {
  readonly name: string;
  run(one: Tunnels, other: Tunnels): Promise<void>;
}

const service = 'tunnels';

async function setRule(node: Tunnels, host: string, endpoint: string): Promise<boolean> {
  return node.ingress.setRule({ host, endpoint, service }, ask());
}

async function getRule(node: Tunnels, host: string): Promise<string | undefined> {
  return node.ingress.getRule({ host, service }, ask());
}

async function getServices(node: Tunnels, name: string): Promise<readonly SdService[]> {
  return node.sd.get({ name }, ask());
}

const newHost = (): string => `${randomUUID()}.example.com`;

/** What a server must do. Each case uses names of its own, so that all may run against one store. */
export const tunnelsCases: readonly TunnelsCase[] = [
  {
    name: 'a host that a tunnel set is found in every spelling, and no other host is',
    async run(one, other) {
      const [host, tunnel] = [newHost(), randomUUID()];
      assert.equal(await getRule(one, host), undefined);
      assert.equal(await setRule(one, `${host.toUpperCase()}.`, tunnel.toUpperCase()), true);
      for (const spelling of [host, `${host}:443`, `${host}.`, `${host.toUpperCase()}:80`])
        assert.equal(await getRule(other, spelling), tunnel, spelling);
      for (const stranger of [`x${host}`, `x.${host}`, 'example.com', `.${host}`, `*.${host}`])
        assert.equal(await getRule(other, stranger), undefined, stranger);
    },
  },
  {
    name: 'the first tunnel keeps a host; of many at once one gets it',
    async run(one, other) {
      const host = newHost();
      const tunnels = Array.from({ length: 20 }, () => randomUUID());
      const taken = await Promise.all(
        tunnels.map((uuid, i) => setRule(i % 2 === 0 ? one : other, host, uuid)),
      );
      assert.equal(taken.filter(Boolean).length, 1);
      const owner = tunnels[taken.indexOf(true)]!;
      assert.equal(await getRule(one, host), owner);
      assert.equal(await setRule(other, host, owner), true, 'again');
      const call = ask();
      assert.equal(await one.ingress.setRule({ host, endpoint: randomUUID(), service }, call), false);
      assert.match(call.meta.reason!, /belongs to another tunnel/);
      assert.equal(await getRule(other, host), owner);
    },
  },
  {
    name: "a tunnel's own name is set by each of its nodes, and by no other tunnel",
    async run(one, other) {
      const tunnel = randomUUID();
      const host = ownNameOf(tunnel);
      assert.equal(await setRule(one, host, randomUUID()), false, 'before it is there');
      assert.deepEqual(await Promise.all([setRule(one, host, tunnel), setRule(other, host, tunnel)]), [
        true,
        true,
      ]);
      assert.equal(await setRule(one, host, randomUUID()), false, 'and afterwards');
      assert.equal(await getRule(other, `${host}:80`), tunnel);
    },
  },
  {
    name: 'a private rule stays private, and makes the own name of the tunnel private',
    async run(one, other) {
      const [host, tunnel] = [newHost(), randomUUID()];
      assert.equal(await setRule(one, ownNameOf(tunnel), tunnel), true);
      assert.equal(await setRule(one, host, tunnel), true);
      assert.equal(await getRule(one, host), tunnel);
      assert.equal(await setRule(other, host, `$${tunnel}`), true);
      for (const name of [host, ownNameOf(tunnel)]) {
        assert.equal(await setRule(one, name, tunnel), true);
        assert.equal(await getRule(other, name), `$${tunnel}`);
      }
      assert.equal(await setRule(one, host, `$${randomUUID()}`), false);
    },
  },
  {
    name: 'what is no host and no tunnel is refused and leaves nothing',
    async run(one, other) {
      const tunnel = randomUUID();
      for (const host of ['', '*', '*.a.test', '.a.test', 'a..test', 'a b', 'a/b', `${'a'.repeat(250)}.test`])
        assert.equal(await setRule(one, host, tunnel), false, host);
      const host = newHost();
      for (const endpoint of ['', '$', 'tunnel', `$$${tunnel}`, `${tunnel}0`, 'x'.repeat(100_000)])
        assert.equal(await setRule(one, host, endpoint), false, endpoint.slice(0, 50));
      assert.equal(await getRule(other, host), undefined);
      assert.equal(await setRule(one, 'x'.repeat(100_000), tunnel), false);
      for (const long of ['x'.repeat(4_000), '', '[', 'a.'.repeat(500)])
        assert.equal(await getRule(one, long), undefined);
    },
  },
  {
    name: "an administrator's wildcards: the nearest rule, and nobody else's hosts beneath",
    async run(one, other) {
      for (const host of ['given.test', 'a.given.test', 'b.a.given.test:80', 'x.near.given.test'])
        assert.equal(await getRule(one, host), given, host);
      assert.equal(await getRule(one, 'near.given.test'), givenPrivate);
      assert.equal(await getRule(one, 'a.closed.test'), `$${givenPrivate}`);
      assert.equal(await getRule(one, 'test'), undefined);
      assert.equal(await setRule(one, 'b.given.test', randomUUID()), false);
      assert.equal(await setRule(one, 'b.given.test', given), true);
      assert.equal(await getRule(other, 'b.given.test'), given);
      // The host is closed by its wildcard; its own tunnel cannot open it either.
      assert.equal(await setRule(one, 'b.closed.test', givenPrivate), true);
      assert.equal(await getRule(other, 'b.closed.test'), `$${givenPrivate}`);
      assert.equal(await getRule(other, ownNameOf(givenPrivate)), `$${givenPrivate}`);
    },
  },
  {
    name: 'a service is registered, renewed with a part of its fields, and gone',
    async run(one, other) {
      const service = serviceOf();
      await one.sd.register(service, ask());
      assert.deepEqual(await getServices(other, service.name), [service]);
      await other.sd.renew(short(service), ask());
      assert.deepEqual(await getServices(one, service.name), [service]);
      await one.sd.renew({ ...service, address: '192.0.2.2:1' }, ask());
      assert.deepEqual(await getServices(other, service.name), [{ ...service, address: '192.0.2.2:1' }]);
      await one.sd.deregister(short(service), ask());
      assert.deepEqual(await getServices(other, service.name), []);
      const call = ask();
      await one.sd.renew(short(service), call);
      assert.match(call.meta.reason!, /address/);
      assert.deepEqual(await getServices(other, service.name), [], 'a late renewal brings nothing back');
      await other.sd.renew(service, ask());
      assert.deepEqual(await getServices(one, service.name), [service], 'one with all fields does');
    },
  },
  {
    name: 'every node and connection of a name is kept apart',
    async run(one, other) {
      const name = randomUUID();
      const services = Array.from({ length: 30 }, (_, i) =>
        serviceOf({ name, node: `node-${String(i % 3)}`, id: `id-${String(Math.floor(i / 3))}` }),
      );
      await Promise.all(
        services.map((service, i) => (i % 2 === 0 ? one : other).sd.register(service, ask())),
      );
      const sorted = (list: readonly SdService[]): string[] => list.map((one) => JSON.stringify(one)).sort();
      assert.deepEqual(sorted(await getServices(one, name)), sorted(services));
      assert.deepEqual(sorted(await getServices(other, name)), sorted(services));
      await one.sd.deregister(short(services[4]!), ask());
      assert.deepEqual(
        sorted(await getServices(other, name)),
        sorted(services.filter((service) => service !== services[4])),
      );
      assert.deepEqual(await getServices(one, `${name}x`), []);
    },
  },
  {
    name: 'texts of every kind come back as they were, and those that are too long are not kept',
    async run(one, other) {
      const texts = ['žluť 🦊 שלום', '"\\/<&>\u2028\0\u007f', ' a\tb\r\n', '[1,2]', '$&%(', '0'];
      for (const text of texts) {
        const service = serviceOf({ name: `${randomUUID()}${text}`, id: text, node: text, address: text });
        await one.sd.register(service, ask());
        assert.deepEqual(await getServices(other, service.name), [service], JSON.stringify(text));
        await other.sd.renew(short(service), ask());
        assert.deepEqual(await getServices(one, service.name), [service], JSON.stringify(text));
      }
      for (const key of ['id', 'node', 'network', 'address'] as const) {
        const service = serviceOf({ [key]: 'x'.repeat(100_000) });
        const call = ask();
        await one.sd.register(service, call);
        assert.match(call.meta.reason!, new RegExp(`the ${key} is longer`));
        assert.deepEqual(await getServices(other, service.name), []);
      }
      for (const empty of [serviceOf({ id: '' }), serviceOf({ name: '' }), serviceOf({ address: '' })]) {
        await one.sd.register(empty, ask());
        assert.deepEqual(await getServices(one, empty.name), []);
      }
      assert.deepEqual(await getServices(one, 'x'.repeat(4_000)), []);
    },
  },
  {
    name: 'the longest prefix of the router leads the way',
    async run(one, other) {
      const routes: readonly (readonly [string, string, string, string])[] = [
        [network, '10.1.2.3', '10.1.2.3/32', 'site-host'],
        [network, '10.1.2.4', '10.1.2.0/24', 'site-10-1-2'],
        [network.toUpperCase(), '10.1.3.4', '10.0.0.0/8', 'site-10'],
        [network, '192.0.2.1', '0.0.0.0/0', 'site-default'],
        [network, '::ffff:10.1.2.4', '10.1.2.0/24', 'site-10-1-2'],
        [network, '2001:db8:1::5', '2001:db8::/32', 'site-v6'],
        ['', '10.9.9.9', '10.0.0.0/8', '10.0.0.1'],
      ];
      for (const [router, destination, network, gateway] of routes)
        assert.deepEqual(
          await one.router.getRoute({ router, destination }, ask()),
          { network, gateway },
          destination,
        );
      for (const [router, destination] of [
        [network, '2001:db9::1'],
        ['', '192.0.2.1'],
        [randomUUID(), '10.1.2.3'],
        [network, 'host.test'],
        [network, ''],
        ['x'.repeat(4_000), '10.1.2.3'],
      ] as const)
        assert.equal(await other.router.getRoute({ router, destination }, ask()), undefined, destination);
    },
  },
];

/** Asks again and again until the answer is right, for at most 10 seconds. Errors count as answers that are not. */
export async function eventually(isRight: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 10_000;
  let error: unknown;
  do {
    const right = await isRight().catch((cause: unknown) => {
      error = cause;
      return false;
    });
    if (right) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  } while (performance.now() < end);
  throw new Error(`${what} did not happen within 10 s`, { cause: error });
}
