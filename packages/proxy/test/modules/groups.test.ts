// Several modules of one kind at one place, one of which cannot be asked: nobody's silence is an opinion.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { startOrigin } from '../../../../interop/gost/traffic.ts';
import { credentials } from './modules-config.ts';
import { startPlugins } from './plugins.ts';
import type { Plugins } from './plugins.ts';
import { visit } from './visits.ts';

/** `yes` lets the user go on, `no` does not, `silent` cannot be asked, and its `onError` may stand behind a colon. */
type Voice = 'yes' | 'no' | 'silent' | 'silent:allow' | 'silent:refuse';
type Group = 'admission' | 'auth' | 'bypass' | 'whitelist';

const denied: Readonly<Record<Group, string>> = {
  admission: 'closed',
  auth: 'HTTP 407',
  bypass: 'HTTP 403',
  whitelist: 'HTTP 403',
};

/** Kind, members in their order, what becomes of the user, and how many plugins were asked. */
const rows: readonly (readonly [Group, readonly Voice[], 'in' | 'out'])[] = [
  // Every one must say yes.
  ['admission', ['yes', 'yes'], 'in'],
  ['admission', ['yes', 'no'], 'out'],
  ['admission', ['yes', 'silent'], 'out'],
  ['admission', ['silent', 'yes'], 'out'],
  ['admission', ['silent:allow', 'yes'], 'in'],
  ['admission', ['silent:allow', 'no'], 'out'],
  // The first yes is enough.
  ['auth', ['no', 'yes'], 'in'],
  ['auth', ['no', 'no'], 'out'],
  ['auth', ['silent', 'yes'], 'in'],
  ['auth', ['silent', 'no'], 'out'],
  ['auth', ['no', 'silent'], 'out'],
  ['auth', ['silent:refuse', 'yes'], 'in'],
  ['auth', ['silent:allow', 'no'], 'in'],
  // The first that says "not there" is enough.
  ['bypass', ['yes', 'yes'], 'in'],
  ['bypass', ['yes', 'no'], 'out'],
  ['bypass', ['silent', 'yes'], 'out'],
  ['bypass', ['yes', 'silent'], 'out'],
  ['bypass', ['silent:allow', 'yes'], 'in'],
  ['bypass', ['silent:allow', 'no'], 'out'],
  // A whitelist in the file beside a plugin: listed by one of the whitelists, and refused by none of the others.
  ['whitelist', ['yes', 'yes'], 'in'],
  ['whitelist', ['yes', 'no'], 'out'],
  ['whitelist', ['yes', 'silent'], 'out'],
  ['whitelist', ['no', 'yes'], 'out'],
  ['whitelist', ['no', 'silent'], 'out'],
];

const sectionOf = {
  admission: 'admissions',
  auth: 'authers',
  bypass: 'bypasses',
  whitelist: 'bypasses',
} as const;
const kindOf = { admission: 'admission', auth: 'auth', bypass: 'bypass', whitelist: 'bypass' } as const;

describe.each(['grpc', 'http'] as const)('%s', (transport) => {
  let saysYes: Plugins;
  let saysNo: Plugins;
  let proxy: Proxy;
  let target = '';
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    const origin = await startOrigin();
    closing.push(() => origin.close());
    target = `127.0.0.1:${String(origin.port)}`;
    const says = (yes: boolean) =>
      startPlugins(transport, {
        admission: { admit: () => yes },
        auth: { authenticate: () => ({ ok: yes, user: yes ? 'somebody' : '' }) },
        bypass: { bypass: () => !yes },
      });
    saysYes = await says(true);
    saysNo = await says(false);
    closing.push(
      () => saysYes.close(),
      () => saysNo.close(),
    );
    const sections: Record<string, object[]> = {};
    const services = rows.map(([group, voices], index) => {
      const names = voices.map((voice, at) => {
        const name = `${group}${String(index)}m${String(at)}`;
        (sections[sectionOf[group]] ??= []).push({ name, ...member(group, voice, at) });
        return name;
      });
      const place =
        group === 'auth' ? {} : group === 'admission' ? { admissions: names } : { bypasses: names };
      return {
        ...{ name: `row${String(index)}`, addr: '127.0.0.1:0', ...place },
        handler: { type: 'http', ...(group === 'auth' && { authers: names }) },
      };
    });
    proxy = await startSallyport({ services, ...sections });
    closing.push(() => proxy.stop());
  });
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
  });

  function member(group: Group, voice: Voice, at: number): object {
    if (group === 'whitelist' && at === 0)
      return { whitelist: true, matchers: [voice === 'yes' ? '127.0.0.1' : 'nobody.test'] };
    const kind = kindOf[group];
    if (voice === 'yes') return { plugin: saysYes.block(kind) };
    if (voice === 'no') return { plugin: saysNo.block(kind) };
    const onError = voice.split(':')[1];
    return { plugin: { ...saysYes.block(kind), addr: '127.0.0.1:1', ...(onError && { onError }) } };
  }

  test.each(rows.map((row, index) => [row[0], row[1].join(', '), row[2], index] as const))(
    '%s: %s: %s',
    async (group, _voices, result, index) => {
      const address = proxy.address(`row${String(index)}`);
      const { outcome } = await visit('CONNECT', address, { target, credentials });
      expect(outcome).toBe(result === 'in' ? 'ok' : denied[group]);
    },
  );
});

test.each(['grpc', 'http'] as const)(
  'hosts over %s: the first that knows the name decides, and who cannot be asked is not one that does not know it',
  async (transport) => {
    const origin = await startOrigin();
    const plugins = await startPlugins(transport, { hosts: { lookup: () => ['127.0.0.2'] } });
    const silent = { ...plugins.block('hosts'), addr: '127.0.0.1:1' };
    const proxy = await startSallyport({
      services: ['good', 'silent'].map((name) => ({
        ...{ name, addr: '127.0.0.1:0', handler: { type: 'http' }, hosts: name },
      })),
      hosts: [
        { name: 'good', plugin: plugins.block('hosts') },
        { name: 'silent', plugin: silent },
      ],
    });
    try {
      const target = `localhost:${String(origin.port)}`;
      expect((await visit('CONNECT', proxy.address('good'), { target })).outcome).toBe('ok');
      expect((await visit('CONNECT', proxy.address('silent'), { target })).outcome).toBe('HTTP 503');
    } finally {
      await proxy.stop();
      await plugins.close();
      await origin.close();
    }
  },
);
