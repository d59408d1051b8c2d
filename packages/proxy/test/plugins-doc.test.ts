// The table of docs/plugins.md that says who is asked when, held to the contracts.
import { readFileSync } from 'node:fs';
import { contracts } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { policySections } from '../src/config/sections/policies.ts';

const page = readFileSync(new URL('../../../docs/plugins.md', import.meta.url), 'utf8');
const section = page.slice(page.indexOf('## Who asks when'), page.indexOf('## Ask one from a program'));
const rows = [...section.matchAll(/^\| (\w+) \|([^|]*)\|([^|]*)\|([^|]*)\|/gm)].slice(1);

describe('docs/plugins.md: who asks when', () => {
  const asked = contracts.filter(({ section: list }) => list in policySections || list === 'hops');

  test('has every module that the program asks', () => {
    const named = new Set(rows.map(([, name]) => (name === 'auther' ? 'auth' : name)));
    expect(named).toEqual(new Set(asked.map(({ kind }) => kind)));
    for (const { kind } of contracts.filter((one) => !asked.includes(one)))
      expect(page).toMatch(new RegExp(`all but [^.]*\\b${kind}\\b`));
  });

  test('says what each is told', () => {
    for (const [, name, , , told] of rows) {
      const { methods } = contracts.find(({ kind }) => kind === (name === 'auther' ? 'auth' : name))!;
      const keys = Object.values(methods)[0]!.http.request.map((key) => key.replace('?', ''));
      const named = [...told!.matchAll(/`(\w+)`/g)].map(([, key]) => key!);
      expect(named.sort(), name).toEqual([...keys].sort());
    }
  });
});
