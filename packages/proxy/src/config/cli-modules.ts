import { didYouMean } from '../schema/nearest.ts';
import type { Entry, ScalarValue, Value } from '../schema/parse.ts';
import type { Report } from '../schema/report.ts';
import { implied, listOf, mappingOf, mappingOrNothing, plain, scalar } from './cli-tree.ts';
import { parseCliUrl, Params } from './cli-url.ts';
import type { Param } from './cli-url.ts';

/** The lists of a file that parameters put modules into, by what one entry is called. */
const sections = {
  auther: 'authers',
  admission: 'admissions',
  bypass: 'bypasses',
  hosts: 'hosts',
  resolver: 'resolvers',
  limiter: 'limiters',
  climiter: 'climiters',
  rlimiter: 'rlimiters',
  recorder: 'recorders',
  observer: 'observers',
  rewriter: 'rewriters',
  hop: 'hops',
  ingress: 'ingresses',
  sd: 'sds',
  router: 'routers',
} as const;
export type CliModule = keyof typeof sections;

const moduleUrl = /^(grpc|grpcs|plugin\+https?):\/\//i;

/** True for a value that names a plugin: `grpc://`, `grpcs://`, `plugin+http://`, `plugin+https://`. */
export function isModuleUrl({ literal }: Param): boolean {
  return moduleUrl.test(literal);
}

/** The modules that parameters stand for, as the lists of a file. Names are GOST's: `bypass-0`, `bypass-1`, … */
export class CliModules {
  readonly #report: Report;
  readonly #lists = new Map<CliModule, Value[]>();
  /** A plugin that several services name is one plugin. */
  readonly #plugins = new Map<string, string>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** The lists, by their keys at the top of a file. */
  entries(): Entry[] {
    return [...this.#lists].map(([module, items]) => ({
      key: sections[module],
      place: items[0]!.place,
      value: listOf(items[0]!.place, items),
    }));
  }

  /** A plugin by its URL; answers the name by which the rest calls it. */
  plugin(module: CliModule, param: Param): ScalarValue {
    const key = `${module} ${param.literal}`;
    const known = this.#plugins.get(key);
    if (known !== undefined) return implied(known, param.place);
    const name = this.#add(module, param, { plugin: this.#pluginBlock(param) });
    this.#plugins.set(key, name.text);
    return name;
  }

  /** A name of a module that stands in a file, or a plugin by its URL. */
  named(module: CliModule, param: Param): ScalarValue | undefined {
    if (isModuleUrl(param)) return this.plugin(module, param);
    return this.#isOther(param) ? undefined : scalar(param);
  }

  /** Reports a URL that is none of a plugin, where nothing but such a one can be meant. The rest of it may be a token. */
  #isOther(param: Param): boolean {
    const scheme = /^([A-Za-z][\w+.-]{0,19}):\/\//.exec(param.literal)?.[1];
    if (scheme === undefined) return false;
    const known = ['grpc', 'grpcs', 'plugin+http', 'plugin+https'];
    this.#report.error(
      param.place,
      '',
      `\`${scheme}://\` is no plugin${didYouMean(scheme, known)}; plugins are ${known.map((one) => `${one}://`).join(', ')}`,
    );
    return true;
  }

  /** GOST's `[~]pattern,pattern`, or a plugin. */
  rules(module: 'admission' | 'bypass', param: Param): ScalarValue | undefined {
    if (isModuleUrl(param)) return this.plugin(module, param);
    if (this.#isOther(param)) return undefined;
    const whitelist = param.text.startsWith('~');
    const items = pieces(whitelist ? param.text.slice(1) : param.text);
    if (items.length === 0) return this.#empty(param);
    return this.#add(module, param, {
      ...(whitelist && { whitelist: plain({ text: 'true', place: param.place }) }),
      matchers: listOf(
        param.place,
        items.map((text) => implied(text, param.place)),
      ),
    });
  }

  /** GOST's `name:ip,name:ip`, or a plugin. */
  hosts(param: Param): ScalarValue | undefined {
    if (isModuleUrl(param)) return this.plugin('hosts', param);
    if (this.#isOther(param)) return undefined;
    const mappings = pieces(param.text).flatMap((piece) => {
      const colon = piece.indexOf(':');
      if (colon > 0) {
        const hostname = implied(piece.slice(0, colon), param.place);
        return [mappingOf(param.place, { hostname, ip: implied(piece.slice(colon + 1), param.place) })];
      }
      this.#report.error(param.place, '', 'expected `name:address`, several separated by commas');
      return [];
    });
    if (mappings.length === 0) return this.#empty(param);
    return this.#add('hosts', param, { mappings: listOf(param.place, mappings) });
  }

  /** GOST's list of nameservers, `https://…` among them, or a plugin. */
  resolver(param: Param, prefer: Param | undefined): ScalarValue | undefined {
    if (isModuleUrl(param)) return this.plugin('resolver', param);
    const servers = pieces(param.text).map((text) =>
      mappingOf(param.place, {
        addr: implied(text, param.place),
        prefer: prefer && scalar(prefer),
      }),
    );
    if (servers.length === 0) return this.#empty(param);
    return this.#add('resolver', param, { nameservers: listOf(param.place, servers) });
  }

  /** GOST's `limiter.in` and its kin: for the service as a whole (`$`) and for each connection (`$$`). */
  trafficLimits(
    whole: readonly [Param | undefined, Param | undefined],
    each: readonly [Param | undefined, Param | undefined],
  ): ScalarValue | undefined {
    const first = whole[0] ?? whole[1] ?? each[0] ?? each[1];
    if (first === undefined) return undefined;
    const line = (key: string, [inwards, outwards]: typeof whole) => {
      const param = inwards ?? outwards;
      if (param === undefined) return [];
      // Nothing said of a direction is no limit, which only a number can say where the other follows.
      const words = [key, inwards?.text ?? '0', ...(outwards === undefined ? [] : [outwards.text])];
      return [implied(words.join(' '), param.place)];
    };
    const limits = listOf(first.place, [...line('$', whole), ...line('$$', each)]);
    return this.#add('limiter', first, { limits });
  }

  /** GOST's `climiter` and `rlimiter`: a number for the service as a whole. */
  count(module: 'climiter' | 'rlimiter', param: Param): ScalarValue | undefined {
    if (!/^\d+(\.\d+)?$/.test(param.text)) {
      const hint = isModuleUrl(param) ? '; it has no plugin form' : '';
      this.#report.error(param.place, '', `\`${module}\` is a number${hint}`);
      return undefined;
    }
    return this.#add(module, param, {
      limits: listOf(param.place, [implied(`$ ${param.text}`, param.place)]),
    });
  }

  #add(module: CliModule, param: Param, fields: Readonly<Record<string, Value | undefined>>): ScalarValue {
    const list = this.#lists.get(module) ?? [];
    this.#lists.set(module, list);
    const name = implied(`${module}-${String(list.length)}`, param.place);
    list.push(mappingOf(param.place, { name, ...fields }));
    return name;
  }

  #empty(param: Param): undefined {
    this.#report.error(param.place, '', `\`${param.key}\` is empty; give it a value or remove it`);
    return undefined;
  }

  /** `grpc://token@host:port?timeout=1s` as a file's `plugin` block. */
  #pluginBlock(param: Param): Value | undefined {
    const url = parseCliUrl(param.literal, () => param.place, this.#report);
    if (url === undefined) return undefined;
    const scheme = url.schemes.map(({ text }) => text).join('+');
    const http = scheme.startsWith('plugin+') ? scheme.slice('plugin+'.length) : undefined;
    const { host, path, place } = url;
    const params = new Params(url.params);
    const socket = host.text === '' && path.text.length > 1;
    if (http === undefined && !socket && path.text.length > 1)
      this.#report.error(
        place,
        '',
        `a ${scheme}:// plugin has no path; \`${scheme}:///path\` is a unix socket`,
      );
    const addr = socket
      ? `unix:${path.text}`
      : http === undefined
        ? host.text
        : `${http}://${host.text}${path.text}`;
    const take = (key: string) => {
      const found = params.take(key);
      return found && plain({ text: found.text, place });
    };
    const secure = scheme === 'grpcs' || http === 'https';
    const tls = { caFile: 1, certFile: 1, keyFile: 1, serverName: 1, secure: 1 };
    const tlsBlock = secure
      ? mappingOf(place, Object.fromEntries(Object.keys(tls).map((key) => [key, take(key)])))
      : undefined;
    const simple = Object.fromEntries(plainKeys.map((key) => [key, take(key)]));
    const cache = mappingOrNothing(place, {
      ttl: take('cache.ttl'),
      negativeTtl: take('cache.negativeTtl'),
      maxEntries: take('cache.maxEntries'),
    });
    for (const { key } of params.left()) {
      if (Object.hasOwn(tls, key)) {
        const other = http === undefined ? 'grpcs://' : 'plugin+https://';
        this.#report.error(place, '', `\`${key}\` is for plugins over TLS: \`${other}\``);
        continue;
      }
      const known = [...plainKeys, 'cache.ttl', 'cache.negativeTtl', 'cache.maxEntries', ...Object.keys(tls)];
      const shown = /^[A-Za-z][\w.]{0,39}$/.test(key) ? ` \`${key}\`` : '';
      this.#report.error(place, '', `unknown parameter${shown} of a plugin's URL${didYouMean(key, known)}`);
    }
    const token = url.user && [url.user.text, url.password?.text].filter((text) => text !== undefined);
    return mappingOf(place, {
      type: implied(http === undefined ? 'grpc' : 'http', place),
      addr: implied(addr, place),
      token: token && implied(token.join(':'), place),
      tls: tlsBlock,
      ...simple,
      cache,
    });
  }
}

/** Keys of a `plugin` block that are one word or number. */
const plainKeys = ['timeout', 'onError', 'maxConcurrent'] as const;

/** What stands between commas. */
function pieces(text: string): string[] {
  return text
    .split(',')
    .map((piece) => piece.trim())
    .filter((piece) => piece !== '');
}
