// docs/configuration.md names every key that is served, in the right table, and none that is not. With UPDATE_DOCS=1 what is
// generated is written anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { gostFlags, gostVariables } from '../src/config/gost-names.ts';
import { compatSwitches } from '../src/config/sections/compat.ts';
import { servedTypes } from '../src/config/sections/blocks.ts';
import { modules } from '../src/modules.ts';
import { walkConfig } from './configuration-shapes.ts';
import type { Served } from './configuration-shapes.ts';

const file = new URL('../../../docs/configuration.md', import.meta.url);
const page = readFileSync(file, 'utf8');
const plugins = readFileSync(new URL('../../../docs/plugins.md', import.meta.url), 'utf8');
const { mappings, words } = walkConfig();

/** The headings of a page and what stands below each, up to the next one. */
function sectionsOf(text: string): Map<string, string> {
  const parts = text.split(/^#+ (?=.)/m).slice(1);
  return new Map(parts.map((part) => [part.split('\n')[0]!.trim(), part.slice(part.indexOf('\n'))]));
}
const sections = sectionsOf(page);

const ticked = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);

/** What the first column of a section's table of keys names; `list[].key` is `list.key`. */
function keysOf(section: string): string[] {
  const table = /^\| (?:Key|Switch)\b.*\n\|[- |]+\n((?:\|.*\n)*)/m.exec(section)?.[1] ?? '';
  return table
    .split('\n')
    .filter((row) => row !== '')
    .flatMap((row) => ticked(row.split('|')[1]!).map((key) => key.replaceAll('[]', '')));
}

/** The headings whose tables together name the keys of a mapping; undefined: they stand in the table of what holds it. */
function headingsOf({ path, type }: Pick<Served, 'path' | 'type'>): readonly string[] | undefined {
  const typed = /(handler|listener|connector|dialer)\.metadata$/.exec(path)?.[1];
  if (type !== undefined && typed !== undefined) {
    const word = typed[0]!.toUpperCase() + typed.slice(1);
    if (typed === 'listener' || typed === 'dialer') {
      const layers = modules.stacks[type as keyof typeof modules.stacks].map((layer) => layer.type);
      return layers.map((layer) => `${word} layer \`${layer}\``).filter((heading) => sections.has(heading));
    }
    const own = [...sections.keys()].filter(
      (heading) => heading.startsWith(`${word} `) && ticked(heading).includes(type),
    );
    if (typed === 'connector') return own;
    // One that hands over to others takes their keys.
    const others =
      type === 'auto'
        ? ['http', 'socks5', 'socks4'].flatMap((other) => headingsOf({ path, type: other })!)
        : [];
    return ['Metadata of every handler', ...own, ...others];
  }
  const fixed: readonly (readonly [RegExp, ...string[]])[] = [
    [/^$/, 'The file'],
    [/^services$/, 'Services'],
    [/^services\.metadata$/, 'Metadata of a service'],
    [/\.handler$/, 'Handlers'],
    [/\.listener$/, 'Listeners'],
    [/\.connector$/, 'Connectors'],
    [/\.dialer$/, 'Dialers'],
    [/\.forwarder$/, 'Forwarders'],
    [/\.forwarder\.nodes$/, 'Nodes', 'Nodes of a forwarder'],
    [/^chains$/, 'Chains'],
    [/(^|\.)hops$/, 'Hops'],
    [/hops\.nodes$/, 'Nodes', 'Nodes of a hop'],
    [/\.selector$/, 'Selectors'],
    [/nodes\.http$/, 'HTTP at a node'],
    [/\.plugin$/, 'Plugins'],
    [/(^|\.)auths?$/, 'Users'],
    [/^tls$|(handler|listener)\.tls$/, 'Of a server'],
    [/\.tls$/, 'Of a client'],
    [/^log$/, 'Log'],
    [/^compat$/, 'What differs from GOST'],
    [/^climiters$/, 'Connection limiters'],
    [/^rlimiters$/, 'Rate limiters'],
    [/^sds$/, 'Service discovery'],
    [/^(observers|rewriters)$/, 'Observers and rewriters'],
    [/^(authers|admissions|bypasses|hosts|resolvers|limiters|ingresses|routers|recorders)$/, upper(path)],
  ];
  const found = fixed.find(([pattern]) => pattern.test(path));
  return found?.slice(1) as string[] | undefined;
}

function upper(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

const nameOf = ({ path, type }: Served) => `${path || 'the file'}${type === undefined ? '' : ` (${type})`}`;

/** The keys of a mapping with those of the mappings in it that have no table of their own. */
function expectedOf(one: Served): string[] {
  const inner = mappings.filter(
    (other) =>
      other.type === undefined &&
      other.path.startsWith(`${one.path}.`) &&
      // Of metadata each type has its own.
      one.keys.includes(other.path.slice(one.path.length + 1)) &&
      headingsOf(other) === undefined,
  );
  return [
    ...one.keys,
    ...inner.flatMap((other) =>
      expectedOf(other).map((key) => `${other.path.slice(one.path.length + 1)}.${key}`),
    ),
  ];
}

describe('docs/configuration.md', () => {
  const documented = mappings.filter((one) => headingsOf(one) !== undefined);

  test('the readers told of everything', () => {
    expect(documented.length).toBeGreaterThan(60);
    expect(new Set(mappings.map(({ path }) => path)).size).toBeGreaterThan(50);
  });

  for (const one of documented.filter(({ path }) => !path.endsWith('.plugin'))) {
    test(`${nameOf(one)}: the table names its keys and no other`, () => {
      const named = headingsOf(one)!.flatMap((heading) => keysOf(sections.get(heading) ?? ''));
      // What a whole list of mappings holds may be left out where the mapping itself is named: `filter` for `filter.host`.
      const expected = expectedOf(one).filter((key, _, all) => {
        const isBlock = all.some((other) => other.startsWith(`${key}.`));
        return !isBlock || named.includes(key);
      });
      expect(named.filter((key) => !expected.includes(key)).sort(), 'named and not served').toEqual([]);
      expect(expected.filter((key) => !named.includes(key)).sort(), 'served and not named').toEqual([]);
    });
  }

  test('no table names a key twice', () => {
    for (const [heading, text] of sections) {
      const keys = keysOf(text);
      expect(
        keys.filter((key, index) => keys.indexOf(key) !== index),
        heading,
      ).toEqual([]);
    }
  });

  test('every table is one of those', () => {
    const used = new Set(documented.flatMap((one) => headingsOf(one)!));
    const tables = [...sections].filter(([, text]) => keysOf(text).length > 0).map(([heading]) => heading);
    expect(tables.filter((heading) => !used.has(heading))).toEqual([]);
  });

  test('the keys of `plugin` stand in docs/plugins.md, and no other', () => {
    const table = keysOf(sectionsOf(plugins).get('Use one')!);
    for (const block of mappings.filter(({ path }) => path.endsWith('.plugin'))) {
      const inner = mappings
        .filter(({ path }) => path.startsWith(`${block.path}.`))
        .flatMap(({ path, keys }) => keys.map((key) => `${path.slice(block.path.length + 1)}.${key}`));
      const all = [...block.keys, ...inner];
      expect(
        table.filter((key) => !all.includes(key)),
        block.path,
      ).toEqual([]);
      expect(
        block.keys.filter((key) => !table.some((named) => named === key || named.startsWith(`${key}.`))),
        block.path,
      ).toEqual([]);
    }
  });

  test('every word that a key may be is named where the key is', () => {
    for (const { path, words: served } of words) {
      if (/\.plugin\./.test(path)) continue;
      const holder = path.slice(0, Math.max(0, path.lastIndexOf('.')));
      // Metadata is looked for in all tables of its block.
      const near = mappings.filter((one) => one.path === holder).flatMap((one) => headingsOf(one) ?? []);
      const texts = near.length === 0 ? [page] : [...near, 'Cipher suites'].map((one) => sections.get(one)!);
      const named = texts.flatMap(ticked);
      expect(
        served.filter((word) => !named.includes(word)),
        path,
      ).toEqual([]);
    }
  });

  test('every type that is served is named, and no other', () => {
    for (const [side, types] of Object.entries(servedTypes)) {
      const row = /^\| `type` \|.*$/m.exec(sections.get(`${upper(side)}s`)!)![0];
      expect(new Set(ticked(row.split('|')[3]!)), side).toEqual(new Set(types));
    }
  });

  test('every switch of `compat` is named', () => {
    expect(keysOf(sections.get('What differs from GOST')!)).toEqual(
      expect.arrayContaining(Object.keys(compatSwitches)),
    );
  });

  test('what is not served is generated', () => {
    const [start, end] = ['<!-- generated: unserved -->\n', '<!-- /generated -->'];
    const from = page.indexOf(start) + start.length;
    const to = page.indexOf(end);
    const wanted = unserved();
    if (process.env.UPDATE_DOCS === '1')
      writeFileSync(file, `${page.slice(0, from)}${wanted}${page.slice(to)}`);
    else expect(page.slice(from, to)).toBe(wanted);
  });
});

/** The table of what only GOST serves, from what the readers know of it. */
function unserved(): string {
  const whereByWhat = new Map<string, string[]>();
  const say = (where: string, own: readonly string[], served: readonly string[]) => {
    const what = shortened(own, served)
      .map((key) => `\`${key}\``)
      .join(', ');
    if (what === '') return;
    const known = whereByWhat.get(what) ?? [];
    whereByWhat.set(what, [...new Set([...known, where])]);
  };
  for (const { path, words: served, unserved: own } of words)
    say(`\`${path.split('.').slice(-2).join('.')}\``, own, served);
  for (const { path, type, keys, unserved: own } of mappings) {
    const where =
      path === '' ? 'the file' : /\.tls$/.test(path) ? '`tls` of a client' : `\`${placeOf(path)}\``;
    say(type === undefined ? where : `${where} of \`${type}\``, own, keys);
  }
  const rows = [...whereByWhat].map(([what, where]) => [where.join(', '), what]);
  rows.push([
    'the command line',
    Object.keys(gostFlags)
      .map((flag) => `\`-${flag}\` (a warning)`)
      .join(', '),
  ]);
  rows.push(['the environment', gostVariables.map((name) => `\`${name}\` (a warning)`).join(', ')]);
  return ['| Where | What |', '| --- | --- |', ...rows.map((row) => `| ${row.join(' | ')} |`), ''].join('\n');
}

/** `mux.*` for three keys and more that begin so, where none that does is served. */
function shortened(keys: readonly string[], served: readonly string[]): string[] {
  const family = (key: string) => key.slice(0, key.indexOf('.') + 1);
  const many = (key: string) =>
    family(key) !== '' &&
    keys.filter((other) => family(other) === family(key)).length >= 3 &&
    !served.some((other) => other.startsWith(family(key)));
  return [...new Set(keys.map((key) => (many(key) ? `${family(key)}*` : key)))];
}

/** As much of a path as tells what is meant: `handler.metadata`, `forwarder.nodes`, `hops`. */
function placeOf(path: string): string {
  return path
    .replace(/^services\.(?!metadata)/, '')
    .replace(/^chains\.hops/, 'hops')
    .replace(/^.*\.(connector|dialer)\b/, '$1');
}
