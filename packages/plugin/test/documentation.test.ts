import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { contracts } from '@sallyport/plugin';

const guide = readFileSync(new URL('../../../docs/plugins.md', import.meta.url), 'utf8');

/** The cells of each row of the table below a heading. */
function table(heading: string): string[][] {
  const section = guide.split(`\n## ${heading}\n`)[1]!.split('\n## ')[0]!;
  const rows = section.split('\n').filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.replaceAll('`', '').trim()),
  );
}

test('the guide lists every module with its section, service, path and methods', () => {
  const listed = table('The modules').map(([, ...cells]) => cells);
  const real = contracts.map(({ kind, section, service, methods }) => [
    section,
    service,
    `/${kind}`,
    Object.keys(methods).join(', '),
  ]);
  expect(listed.sort()).toEqual(real.sort());
});

test('the guide gives every method its deadline and what happens when it could not be asked', () => {
  const words = { refuse: 'refuse', lastGood: 'the last good answer', none: 'no route', queue: 'queued' };
  const rows = table('When it cannot be asked').flatMap(([modules, deadline, outcome]) =>
    modules!.split(', ').map((name) => ({ name, deadline: deadline!, outcome: outcome! })),
  );
  for (const contract of contracts) {
    for (const [name, method] of Object.entries(contract.methods)) {
      const kind = contract.kind === 'auth' ? 'auther' : contract.kind;
      const row = rows.find((each) => each.name === kind || each.name === `${kind} ${name}`);
      expect(row, `${kind} ${name}`).toBeDefined();
      expect(row!.deadline, `${kind} ${name}`).toContain(`${String(method.timeoutMs / 1000)} s`);
      expect(row!.outcome, `${kind} ${name}`).toContain(words[method.onError as keyof typeof words]);
    }
  }
});
