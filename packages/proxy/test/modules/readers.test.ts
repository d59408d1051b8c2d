// What is told of a connection: records, in files and to plugins, and counters, through the real binary.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ObserverEvent, RecorderAsk } from '@sallyport/plugin';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { startOrigin } from '../../../../interop/gost/traffic.ts';
import type { Origin } from '../../../../interop/gost/traffic.ts';
import { answers, credentials, user } from './modules-config.ts';
import type { Variant } from './modules-config.ts';
import { startPlugins } from './plugins.ts';
import type { Plugins } from './plugins.ts';
import { handlerOf, visit } from './visits.ts';
import type { Way } from './visits.ts';

const kinds = {
  client: 'client.address',
  dial: 'router.dial.address',
  error: 'router.dial.address.error',
  handler: 'handler',
} as const;
type Kind = keyof typeof kinds;

const ways: readonly Way[] = ['CONNECT', 'GET', 'socks5', 'tcp'];
const variants: readonly Variant[] = ['built-in', 'grpc', 'http'];

describe.each(variants)('%s', (variant) => {
  let folder = '';
  let origin: Origin;
  let plugins: Plugins;
  let proxy: Proxy;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'readers-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    origin = await startOrigin();
    closing.push(() => origin.close());
    plugins = await startPlugins(
      variant === 'http' ? 'http' : 'grpc',
      answers(() => ''),
    );
    closing.push(() => plugins.close());
    const isFile = variant === 'built-in';
    const nodes = { good: origin.port, bad: 1 };
    const services = (['http', 'socks5', 'tcp'] as const).flatMap((type) =>
      (['good', 'bad'] as const).map((name) => ({
        name: `${name}-${type}`,
        addr: '127.0.0.1:0',
        handler: { type, ...(type !== 'tcp' && { auther: 'users' }) },
        ...(type === 'tcp' && {
          forwarder: { nodes: [{ name: 't', addr: `127.0.0.1:${String(nodes[name])}` }] },
        }),
        metadata: { labels: { site: 'lab' } },
        recorders: Object.entries(kinds).map(([kind, record]) => ({
          name: isFile ? `${name}-${type}-${kind}` : 'recorder',
          record: `recorder.service.${record}`,
          metadata: { kind, 'Some.Key': 7 },
        })),
      })),
    );
    proxy = await startSallyport({
      services: [
        ...services,
        {
          name: 'observed',
          addr: '127.0.0.1:0',
          observer: 'observer',
          handler: {
            type: 'http',
            auther: 'users',
            observer: 'observer',
            metadata: { 'observer.period': '1s' },
          },
          metadata: { enableStats: true, 'observer.period': '1s' },
        },
      ],
      authers: [{ name: 'users', plugin: plugins.block('auth') }],
      observers: [{ name: 'observer', plugin: plugins.block('observer') }],
      recorders: isFile
        ? services.flatMap(({ name }) =>
            Object.keys(kinds).map((kind) => ({
              name: `${name}-${kind}`,
              file: { path: path.join(folder, `${name}-${kind}`), sep: '\n' },
            })),
          )
        : [{ name: 'recorder', plugin: plugins.block('recorder') }],
    });
    closing.push(() => proxy.stop());
  });
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
  });
  afterEach(() => {
    plugins.take('auth', 'recorder');
    expect(plugins.problems).toEqual([]);
  });

  /** The records of a service, by kind, as soon as all that are awaited are there. */
  async function records(service: string, wanted: readonly Kind[]): Promise<Map<Kind, string[]>> {
    const found = new Map<Kind, string[]>();
    if (variant === 'built-in') {
      const until = Date.now() + 10_000;
      for (const kind of Object.keys(kinds) as Kind[]) {
        for (;;) {
          const text = readFileSync(path.join(folder, `${service}-${kind}`), 'utf8');
          const lines = text.split('\n').filter((line) => line !== '');
          if (lines.length > 0) found.set(kind, lines);
          if (lines.length > 0 || !wanted.includes(kind) || Date.now() > until) break;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
      return found;
    }
    const asked = (await plugins.takeUntil(
      'recorder',
      (asks) => asks.length >= wanted.length,
    )) as RecorderAsk[];
    for (const { data, metadata } of asked) {
      const { kind, ...rest } = metadata as { kind: Kind };
      // As in GOST the keys of a file arrive in small letters.
      expect(rest).toEqual({ 'some.key': 7 });
      found.set(kind, [...(found.get(kind) ?? []), Buffer.from(data).toString()]);
    }
    return found;
  }

  test.each(ways)('every kind of record arrives, once: %s', async (way) => {
    const service = `good-${handlerOf[way]}`;
    const target = `127.0.0.1:${String(origin.port)}`;
    const before = variant === 'built-in' ? await records(service, []) : new Map<Kind, string[]>();
    const { outcome, client } = await visit(way, proxy.address(service), {
      ...{ target, credentials, body: 'abc' },
    });
    expect(outcome).toBe('ok');
    let found = await records(service, ['client', 'dial', 'handler']);
    const fresh = (kind: Kind) => found.get(kind)?.slice(before.get(kind)?.length ?? 0) ?? [];
    // In files the last visit's records stand in front.
    for (const until = Date.now() + 10_000; fresh('handler').length === 0 && Date.now() < until;) {
      found = await records(service, ['client', 'dial', 'handler']);
    }
    expect(fresh('client')).toEqual(['127.0.0.1']);
    expect(fresh('dial')).toEqual(['127.0.0.1']);
    expect(fresh('error')).toEqual([]);
    expect(fresh('handler')).toHaveLength(1);
    const text = fresh('handler')[0]!;
    expect(text).not.toContain(Buffer.from(credentials).toString('base64'));
    const record = JSON.parse(text) as Record<string, unknown>;
    expect(record).toMatchObject({
      ...{ service, labels: { site: 'lab' }, network: 'tcp', remote: client, client },
      ...{ local: proxy.address(service), dst: target, host: target, clientIP: '', route: target },
      ...(way === 'tcp' ? { node: 't' } : { clientID: user }),
      src: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string,
      sid: expect.stringMatching(/^\S+$/) as string,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    });
    expect(record['duration']).toBeGreaterThan(0);
    for (const key of ['inputBytes', 'outputBytes']) expect(record[key], key).toBeGreaterThan(50);
    if (way === 'GET') {
      expect(record).toMatchObject({
        proto: 'http',
        http: { host: target, method: 'POST', uri: `http://${target}/page`, statusCode: 200 },
      });
    }
    if (way === 'CONNECT') expect(record).toMatchObject({ http: { method: 'CONNECT', uri: target } });
    // Ours: who decided.
    const decisions = (record['decisions'] ?? []) as { module: string; outcome: string; by: string }[];
    expect(decisions.map(({ module, outcome, by }) => [module, outcome, by])).toEqual(
      way === 'tcp' ? [] : [['auth', 'yes', 'users']],
    );
  });

  test.each(ways)('a target that nobody listens at is recorded as such: %s', async (way) => {
    const service = `bad-${handlerOf[way]}`;
    const { outcome } = await visit(way, proxy.address(service), { target: '127.0.0.1:1', credentials });
    expect(outcome).toBe(
      { CONNECT: 'HTTP 502', GET: 'HTTP 502', socks5: 'SOCKS5 3', socks4: '', tcp: 'closed' }[way],
    );
    const found = await records(service, ['client', 'dial', 'error', 'handler']);
    expect(found.get('error')?.at(-1)).toBe('127.0.0.1');
    const record = JSON.parse(found.get('handler')!.at(-1)!) as Record<string, unknown>;
    expect(record['err']).toMatch(/refused/);
  });

  test.skipIf(variant === 'built-in')(
    'observer: states, counters of the service and of each user',
    async () => {
      const target = `127.0.0.1:${String(origin.port)}`;
      const wish = { target, credentials, path: '/bytes/5000' };
      expect((await visit('CONNECT', proxy.address('observed'), wish)).body.length).toBe(5000);
      const bad = await visit('CONNECT', proxy.address('observed'), { ...wish, credentials: 'gost:wrong' });
      expect(bad.outcome).toBe('HTTP 407');
      const eventsOf = (asks: readonly unknown[]) =>
        (asks as { events: ObserverEvent[] }[]).flatMap(({ events }) => events);
      const stats = (events: readonly ObserverEvent[], kind: string) =>
        events.flatMap((one) => (one.type === 'stats' && one.kind === kind ? [one] : []));
      const events = eventsOf(
        await plugins.takeUntil('observer', (asks) => {
          const all = eventsOf(asks);
          return (
            stats(all, 'service').some((one) => one.stats.totalConns === 2 && one.stats.currentConns === 0) &&
            stats(all, 'handler').some((one) => one.stats.totalConns === 1 && one.stats.currentConns === 0)
          );
        }),
      );
      const status = (state: string) => ({
        ...{ type: 'status', kind: 'service', service: 'observed', user: '', state },
        message: `service observed is ${state}`,
      });
      expect(events.filter(({ type }) => type === 'status')).toEqual([status('running'), status('ready')]);
      const total = stats(events, 'service').at(-1)!;
      expect(total).toMatchObject({ service: 'observed', user: '' });
      expect(Number(total.stats.outputBytes)).toBeGreaterThan(5000);
      const own = stats(events, 'handler').at(-1)!;
      expect(own).toMatchObject({ service: 'observed', user });
      expect(Number(own.stats.outputBytes)).toBeGreaterThan(5000);
      expect(Number(own.stats.inputBytes)).toBeLessThanOrEqual(Number(total.stats.inputBytes));
    },
  );
});
