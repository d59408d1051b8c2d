// `npm run check`: the whole gate of the source, one step after the other, each with its time. Stops at the first failure.
import { spawnSync } from 'node:child_process';

const bin = (name) => `node_modules/.bin/${name}`;
const steps = [
  ['format', bin('prettier'), '--check', '--log-level', 'warn', '.'],
  ['lint', bin('eslint'), '--max-warnings', '0', '.'],
  ['layers', bin('depcruise'), '--config', '.dependency-cruiser.cjs', 'packages', '--output-type', 'err'],
  ['types', bin('tsc'), '-p', '.'],
  ['generated code', 'node', '--import', 'tsx', 'packages/plugin/scripts/generate.ts', '--check'],
  [
    'unused exports',
    bin('ts-unused-exports'),
    'tsconfig.json',
    '--allowUnusedTypes',
    '--excludePathsFromReport=/index.ts;config.ts;/gen/',
  ],
  ['build', 'npm', 'run', '--silent', 'build'],
  ['tests', bin('vitest'), 'run'],
];

const only = process.argv.slice(2);
for (const [name, command, ...args] of steps) {
  if (only.length > 0 && !only.includes(name)) continue;
  const start = Date.now();
  console.log(`check: ${name}`);
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error) console.error(`check: ${name}: ${error.message} (has "npm ci" run?)`);
  if (status !== 0) {
    console.error(`check: ${name} failed after ${((Date.now() - start) / 1000).toFixed(1)} s`);
    process.exit(1);
  }
  console.log(`check: ${name} passed in ${((Date.now() - start) / 1000).toFixed(1)} s`);
}
