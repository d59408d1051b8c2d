import { filled, mapping, optional, present, required, sections, text } from '../../schema/read.ts';
import type { Fields, FromFields, Reader } from '../../schema/read.ts';
import type { ModuleKind } from '@sallyport/plugin';
import { admissionFields } from '../../policies/admission/index.ts';
import { bypassFields } from '../../policies/bypass/index.ts';
import { connLimiterFields } from '../../policies/climiter/index.ts';
import { hostsFields } from '../../policies/hosts/index.ts';
import { ingressFields } from '../../policies/ingress/index.ts';
import { limiterFields } from '../../policies/limiter/index.ts';
import { resolverFields } from '../../policies/resolver/index.ts';
import { rateLimiterFields } from '../../policies/rlimiter/index.ts';
import { routerFields } from '../../policies/router/index.ts';
import { sdFields } from '../../policies/sd/index.ts';
import { gostKeys } from '../gost-names.ts';
import { credentials, name, others } from './common.ts';
import type { Of } from './common.ts';
import { plugin } from './plugin.ts';

/** Where a module's rules may also come from in GOST. */
const loaders = ['reload', 'file', 'redis', 'http'] as const;

/** One module that has a built-in, a plugin, or both forms. */
function module<K extends ModuleKind, F extends Fields>(kind: K, fields: F, unserved: readonly string[]) {
  const whole = mapping({ name: required(name), ...fields, plugin: present(plugin(kind)) }, { unserved });
  const own = Object.entries(fields).map(([property, { key }]) => key ?? property);
  const reader: Reader<Of<typeof whole>> = (value, path, reading) => {
    const found = whole(value, path, reading);
    if (found === undefined) return undefined;
    const given = own.filter((key) => found.has(key));
    if (found.has('plugin') && given.length > 0) {
      reading.report.warn(
        found.keyAt(given[0]!),
        `${path}.${given[0]!}`,
        'is not used, as in GOST, because a plugin is named',
      );
    }
    return found;
  };
  return reader;
}

/** An `auths` entry of GOST may leave out the password, and then any password will do. Here it may not. */
const auths: Reader<readonly Of<typeof credentials>[]> = (value, path, reading) => {
  const found = sections(credentials)(value, path, reading);
  if (value.kind === 'list' && value.items.length === 0) {
    reading.report.error(value.place, path, 'is empty, so that nobody could get in; add an entry');
  }
  return found;
};

const autherFields = module(
  'auth',
  { auths: present(auths) },
  others(gostKeys.auther, 'name', 'auths', 'plugin'),
);

const auther: typeof autherFields = (value, path, reading) => {
  const found = autherFields(value, path, reading);
  // A loader (`file`, `redis`, `http`) has its own message already.
  if (found !== undefined && !others(gostKeys.auther, 'name').some(found.has)) {
    reading.report.error(value.place, path, 'knows nobody; give it `auths` or a `plugin`');
  }
  return found;
};

const sdEntry = module('sd', sdFields, []);

const sd: typeof sdEntry = (value, path, reading) => {
  const found = sdEntry(value, path, reading);
  if (found !== undefined && !found.has('redis') && !found.has('plugin'))
    reading.report.error(value.place, path, 'keeps nothing; give it `redis` or a `plugin`');
  return found;
};

/** Modules that only a plugin can be. */
const pluginOnly = <K extends ModuleKind>(kind: K) =>
  mapping({ name: required(name), plugin: required(plugin(kind)) }, { unserved: [] });

const recorderFile = mapping(
  { fileName: { ...required(filled(text('a file name'))), key: 'path' }, sep: optional(text()) },
  { unserved: ['rotation'] },
);

const recorder = mapping(
  { name: required(name), file: present(recorderFile), plugin: present(plugin('recorder')) },
  { unserved: ['tcp', 'http', 'redis'] },
);

const limits = (fields: { readonly limits: Fields[string] }) =>
  mapping({ name: required(name), limits: fields.limits }, { unserved: [...loaders] });

/** The lists of modules in a file, by their key at the top. */
export const policySections = {
  authers: optional(sections(auther)),
  admissions: optional(sections(module('admission', admissionFields, loaders))),
  bypasses: optional(sections(module('bypass', bypassFields, loaders))),
  hosts: optional(sections(module('hosts', hostsFields, loaders))),
  resolvers: optional(sections(module('resolver', resolverFields, []))),
  limiters: optional(sections(module('limiter', limiterFields, loaders))),
  climiters: optional(sections(limits(connLimiterFields))),
  rlimiters: optional(sections(limits(rateLimiterFields))),
  ingresses: optional(sections(module('ingress', ingressFields, loaders))),
  routers: optional(sections(module('router', routerFields, loaders))),
  sds: optional(sections(sd)),
  recorders: optional(sections(recorder)),
  observers: optional(sections(pluginOnly('observer'))),
  rewriters: optional(sections(pluginOnly('rewriter'))),
};

type SectionsOf = FromFields<typeof policySections>;
/** One entry of a list of modules. */
export type PolicyConfig<S extends keyof typeof policySections> = NonNullable<SectionsOf[S]>[number];
