import { expect, test } from 'vitest';
import { parseTree } from '../schema/parse.ts';
import { mapping } from '../schema/read.ts';
import type { Fields } from '../schema/read.ts';
import { createReport, formatFindings } from '../schema/report.ts';
import { createSource } from '../schema/source.ts';
import { admissionFields } from './admission/index.ts';
import { bypassFields } from './bypass/index.ts';
import { connLimiterFields } from './climiter/index.ts';
import { hostsFields } from './hosts/index.ts';
import { ingressFields } from './ingress/index.ts';
import { limiterFields } from './limiter/index.ts';
import { rateLimiterFields } from './rlimiter/index.ts';
import { routerFields } from './router/index.ts';
import { sdFields } from './sd/index.ts';

function read(fields: Fields, text: string) {
  const report = createReport();
  const tree = parseTree(createSource('f.yml', text), report);
  const found = tree && mapping(fields)(tree, 'x', { report, lenient: false });
  return { found, errors: formatFindings(report.errors) };
}

test.each<[string, Fields, string, object]>([
  [
    'bypass',
    bypassFields,
    'reverse: true\nnetwork: udp\nmatchers: ["*.a.test", 10.0.0.1]',
    {
      whitelist: true,
      network: 'udp',
      matchers: ['*.a.test', '10.0.0.1'],
    },
  ],
  [
    'admission',
    admissionFields,
    'whitelist: true\nmatchers:\n- 10.0.0.0/8',
    { whitelist: true, matchers: ['10.0.0.0/8'] },
  ],
  [
    'hosts',
    hostsFields,
    'mappings:\n- ip: ::1\n  hostname: .a.test\n  aliases: [b.test]',
    {
      mappings: [{ ip: '::1', hostname: '.a.test', aliases: ['b.test'] }],
    },
  ],
  [
    'ingress',
    ingressFields,
    'rules:\n- hostname: "*.a.test"\n  endpoint: $0123456789abcdef0123456789abcdef',
    { rules: [{ hostname: '*.a.test', endpoint: '$0123456789abcdef0123456789abcdef' }] },
  ],
  [
    'router',
    routerFields,
    'routes:\n- net: fd00::/8\n  gateway: site',
    { routes: [{ net: 'fd00::/8', gateway: 'site' }] },
  ],
  [
    'sd',
    sdFields,
    'redis: { addr: "r:1", db: 2, username: u, password: 012, key: "k:", ttl: 30s }',
    {
      redis: {
        ...{ address: { host: 'r', port: 1 }, db: 2, username: 'u', password: '012' },
        ...{ key: 'k:', ttlMs: 30_000 },
      },
    },
  ],
  ['limiter', limiterFields, 'limits: [$ 1MB 2MB]', { limits: ['$ 1MB 2MB'] }],
  ['climiter', connLimiterFields, 'limits: [$$ 10]', { limits: ['$$ 10'] }],
  ['rlimiter', rateLimiterFields, 'limits: [$$ 0.5]', { limits: ['$$ 0.5'] }],
])('the keys of a %s are read', (_, fields, text, expected) => {
  const { found, errors } = read(fields, text);
  expect(errors).toEqual([]);
  expect(found).toMatchObject(expected);
});

test.each<[string, Fields, string, string]>([
  [
    'bypass',
    bypassFields,
    'matchers:\n- a.test\n- a.test:x\n',
    'f.yml:3:3: x.matchers[1]: "a.test:x" has neither a port',
  ],
  [
    'admission',
    admissionFields,
    'matchers:\n- 10.0.0.1\n- "*"\n',
    'f.yml:3:3: x.matchers[1]: "*" is a pattern',
  ],
  [
    'hosts',
    hostsFields,
    'mappings:\n- ip: 1.2.3\n  hostname: a.test\n',
    'f.yml:2:7: x.mappings[0].ip: "1.2.3" is no IP address',
  ],
  [
    'ingress',
    ingressFields,
    'rules:\n- hostname: a.test\n  endpoint: a.test:80\n',
    'f.yml:3:13: x.rules[0].endpoint: "a.test:80" is no UUID',
  ],
  [
    'router',
    routerFields,
    'routes:\n- dst: 10.0.0.0/40\n  gateway: a\n',
    'f.yml:2:8: x.routes[0].dst: "10.0.0.0/40" is neither a network',
  ],
  ['sd', sdFields, 'redis: { addr: nowhere }', 'f.yml:1:16: x.redis.addr: "nowhere" is no address'],
  [
    'limiter',
    limiterFields,
    'limits:\n- $ 100\n',
    'f.yml:2:3: x.limits[0]: "$ 100" holds 100 without a unit',
  ],
  ['climiter', connLimiterFields, 'limits: [$ 1KB]', 'f.yml:1:10: x.limits[0]: "$ 1KB" is not `KEY N`'],
  [
    'rlimiter',
    rateLimiterFields,
    'limits: [[$ 1]]',
    'f.yml:1:10: x.limits[0]: expected a limit, found a list',
  ],
])('a bad rule of a %s is shown where it stands', (_, fields, text, message) => {
  const { errors } = read(fields, text);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toContain(message);
});
