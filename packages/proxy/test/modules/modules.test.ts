// Every module at its real place, through the real binary: as built-in, over gRPC and over HTTP, by every way in which a
// user asks. What a plugin is asked is what a real GOST asks it there, each thing once, and what the user sees is what it
// answered.
import { X509Certificate } from 'node:crypto';
import type tls from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createLinkFiles } from '../../../../interop/common/links.ts';
import type { LinkFiles } from '../../../../interop/common/links.ts';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { startNode, startOrigin } from '../../../../interop/gost/traffic.ts';
import type { Origin } from '../../../../interop/gost/traffic.ts';
import dnsPacket from 'dns-packet';
import { bindUdp, zone } from '../../src/policies/resolver/dns-server.fixture.ts';
import { answers, configOf, credentials, rate, user } from './modules-config.ts';
import type { Variant } from './modules-config.ts';
import {
  proxied,
  everyWay,
  refusals,
  admitted,
  authenticated,
  passed,
  lookedUp,
  resolved,
  selected,
  limited,
  rows,
} from './modules-table.ts';
import type { Facts } from './modules-table.ts';
import { startPlugins } from './plugins.ts';
import type { Asked, Plugins } from './plugins.ts';
import { connect, handlerOf, seenBy, visit } from './visits.ts';
import type { Visit, Way, Wish } from './visits.ts';

const variants: readonly Variant[] = ['built-in', 'grpc', 'http'];

describe.each(variants)('%s', (variant) => {
  let files: LinkFiles;
  let origin: Origin;
  let node: Awaited<ReturnType<typeof startNode>>;
  let plugins: Plugins | undefined;
  let proxy: Proxy;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    files = createLinkFiles();
    closing.push(() => files.remove());
    origin = await startOrigin();
    closing.push(() => origin.close());
    node = await startNode();
    closing.push(() => node.close());
    const respond = zone({ 'resolver.test': ['127.0.0.3'] });
    const dns = await bindUdp((bytes, from) => {
      dns.send(respond(dnsPacket.decode(bytes), bytes)!, from.port, from.address);
    });
    closing.push(() => dns.close());
    if (variant !== 'built-in') {
      plugins = await startPlugins(
        variant,
        answers(() => node.address),
      );
      closing.push(() => plugins?.close());
    }
    const nameserver = `127.0.0.1:${String(dns.address().port)}`;
    proxy = await startSallyport(
      configOf({ variant, plugins, originPort: origin.port, node: node.address, nameserver, files }),
    );
    closing.push(() => proxy.stop());
  });
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
  });
  afterEach(() => {
    plugins?.take();
    expect(plugins?.problems ?? []).toEqual([]);
  });

  /** What a visit is expected to have been, by what is known only now. */
  function factsOf(way: Way, service: string, wish: Wish, client: string): Facts {
    const who = way === 'tcp' ? '' : user;
    const { target } = wish;
    const host = target.slice(0, target.lastIndexOf(':'));
    return { way, service, client, originPort: origin.port, target, host, user: who };
  }

  async function go(
    way: Way,
    service: string,
    more: Partial<Wish> = {},
  ): Promise<{ visited: Visit; facts: Facts }> {
    const name = `${service}-${handlerOf[way]}`;
    const wish = { target: `127.0.0.1:${String(origin.port)}`, credentials, ...more };
    const visited = await visit(way, proxy.address(name), wish);
    return { visited, facts: factsOf(way, name, wish, visited.client) };
  }

  for (const {
    title,
    service,
    ways,
    wish,
    asked,
    outcome,
    at = '127.0.0.1',
    node: through = false,
  } of rows) {
    describe(title, () => {
      // The built-in auther has no user without a password.
      test.each(ways)('%s', async (way) => {
        const nodes = node.targets.length;
        const { visited, facts } = await go(way, service, wish?.(way, factsOf(way, '', emptyWish, '')));
        expect(visited.outcome).toBe(outcome?.[way] ?? 'ok');
        if (visited.outcome === 'ok')
          expect(seenBy(visited)).toMatchObject({ at, url: '/page', method: 'GET' });
        if (variant !== 'built-in') expect(plugins!.take()).toEqual(asked(facts));
        expect(node.targets.slice(nodes)).toEqual(through ? [facts.target] : []);
      });
    });
  }

  test.each(['CONNECT', 'GET', 'socks5'] as const)(
    'auther: the certificate that a client proved arrives: %s over TLS',
    async (way) => {
      const { cert, key } = files.client;
      const options: tls.ConnectionOptions = { ca: files.ca, cert, key, servername: 'localhost' };
      const { visited, facts } = await go(way, 'tls', { tls: options });
      expect(visited.outcome).toBe('ok');
      if (variant === 'built-in') return;
      const fingerprint = new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();
      const [[method, ask]] = authenticated(facts) as [Asked];
      const certificate = { commonName: 'client.example', names: ['client.example'], fingerprint };
      expect(plugins!.take()).toEqual([[method, { ...(ask as object), certificate }]]);
    },
  );

  test('a kept connection: who it is is asked once, where it goes for each request', async () => {
    const { line, client } = await connect(proxy.address('bypass-http'), {});
    onTestFinished(() => void line.socket.destroy());
    const target = `127.0.0.1:${String(origin.port)}`;
    const head = (host: string) =>
      `GET http://${host}/text HTTP/1.1\r\nHost: ${host}\r\n` +
      `Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}\r\n\r\n`;
    const end = (held: Buffer) => {
      const at = held.indexOf('</p>');
      return at === -1 ? undefined : at + 4;
    };
    for (let i = 0; i < 3; i++) {
      line.socket.write(head(target));
      expect(String(await line.take(end))).toMatch(/^HTTP\/1\.1 200 /);
    }
    line.socket.write(head('forbidden.test'));
    const refused = await line.take((held) => (held.indexOf('\r\n\r\n') === -1 ? undefined : 12));
    expect(String(refused)).toBe('HTTP/1.1 403');
    if (variant === 'built-in') return;
    const wish = { target };
    const facts = factsOf('GET', 'bypass-http', wish, client);
    const once = passed(facts);
    expect(plugins!.take()).toEqual([
      ...authenticated(facts),
      ...[once, once, once],
      passed({ ...facts, target: 'forbidden.test:80' }),
    ]);
  });

  test.skipIf(variant === 'built-in').each(proxied)(
    'all modules of a service, each once, in GOST’s order: %s',
    async (way) => {
      const target = `resolver.test:${String(origin.port)}`;
      const { visited, facts } = await go(way, 'everything', { target });
      expect(visited.outcome).toBe('ok');
      const asked = plugins!.take();
      // The limits of a user who is known already are known, too.
      const limits = limited(facts).filter((one) => asked.some((other) => isDeepStrictEqual(one, other)));
      expect(asked).toEqual([
        admitted(facts),
        ...authenticated(facts),
        passed(facts),
        lookedUp(facts),
        resolved(facts),
        selected(facts, `127.0.0.3:${String(origin.port)}`),
        ...limits,
      ]);
      expect(asked).toContainEqual(limited(facts)[1]);
      expect(node.targets.at(-1)).toBe(`127.0.0.3:${String(origin.port)}`);
    },
  );

  describe('limiter: both directions are held to the rates of one answer', () => {
    test.each(everyWay.filter((way) => way !== 'GET'))('%s', async (way) => {
      if (variant === 'built-in' && way === 'socks4') return;
      const bytes = { in: 600_000, out: 450_000 };
      const first = await timed(() => go(way, 'limiter', { path: `/bytes/${String(bytes.out)}` }));
      expect(first.visited.outcome).toBe('ok');
      expect(first.visited.body.length).toBe(bytes.out);
      if (variant !== 'built-in') {
        const asked = plugins!.take('limiter');
        expect(asked).toHaveLength(3);
        expect(asked).toEqual(expect.arrayContaining(limited(first.facts)));
      }
      const second = await timed(() => go(way, 'limiter', { body: 'x'.repeat(bytes.in), path: '/text' }));
      expect(second.visited.outcome).toBe('ok');
      if (variant !== 'built-in') {
        // What is known of the service and the user is not asked again.
        expect(plugins!.take('limiter')).toEqual([limited(second.facts)[1]]);
      }
      // A second's worth goes at once, and the rest at the rate.
      for (const [{ seconds }, least] of [
        [first, (bytes.out - rate.out) / rate.out],
        [second, (bytes.in - rate.in) / rate.in],
      ] as const) {
        expect(seconds).toBeGreaterThan(least * 0.9);
        expect(seconds).toBeLessThan(least * 4);
      }
    });
  });

  describe.skipIf(variant !== 'built-in')('limiters of connections and requests', () => {
    test.each(proxied)('climiter: the connection that is one too many hears nothing: %s', async (way) => {
      const visited = await untilFree(way, async () => {
        if (way === 'GET') return;
        const second = await go(way, 'connections');
        expect(second.visited.outcome).toBe('closed');
      });
      expect(visited.outcome).toBe('ok');
      expect((await untilFree(way)).outcome).toBe('ok');
    });

    test.each(proxied)('rlimiter: the request that is one too many is told: %s', async (way) => {
      const outcomes = await Promise.all(Array.from({ length: 4 }, () => go(way, 'requests')));
      const told = outcomes.map(({ visited }) => visited.outcome);
      expect(told).toContain(refusals.tooMany[way]);
    });
  });

  /** A connection that has ended is free again as soon as the proxy has seen it. */
  async function untilFree(way: Way, opened?: () => unknown): Promise<Visit> {
    for (const until = Date.now() + 2000; ;) {
      const { visited } = await go(way, 'connections', { ...(opened && { opened }) });
      if (visited.outcome !== 'closed' || Date.now() > until) return visited;
    }
  }
});

const emptyWish: Wish = { target: ':0' };

async function timed<T extends object>(run: () => Promise<T>): Promise<T & { seconds: number }> {
  const started = performance.now();
  return { ...(await run()), seconds: (performance.now() - started) / 1000 };
}
