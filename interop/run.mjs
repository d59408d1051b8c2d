// Runs the interop suites, all or those that are named, and prints each one's time and counts. What a missing toolchain keeps
// from running is said again at the end. The last line, "N passed, N failed", is what .ci/run adds up.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'interop-run-'));
const typescript = ['--conditions=source', '--import', 'tsx'];
const timeoutMs = 600_000;

/** Runs a command in this folder and returns its exit code and what it printed, which is shown as it comes. */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: here, stdio: ['ignore', 'pipe', 'inherit'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      process.stdout.write(text);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

/** A suite of node:test in one file or several, counted by its own summary. */
async function tests(...files) {
  const report = path.join(folder, 'report.tap');
  const reporters = ['spec', 'stdout', 'tap', report].map((value, index) =>
    index % 2 === 0 ? `--test-reporter=${value}` : `--test-reporter-destination=${value}`,
  );
  const { code } = await run(process.execPath, [...typescript, '--test', ...reporters, ...files]);
  const text = readFileSync(report, 'utf8');
  const count = (word) => Number(new RegExp(`^# ${word} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  const failed = count('fail') + count('cancelled');
  const skipped = [...new Set([...text.matchAll(/# SKIP (.+)$/gm)].map(([, reason]) => reason))].join('; ');
  return { passed: count('pass'), failed: failed === 0 && code !== 0 ? 1 : failed, skipped };
}

/** The public runner's cases for one of our two programs. All of them, and as many as it has for what we claim. */
async function conformance(mode, cases) {
  const runner = path.join(here, 'conformance/bin/connectconformance');
  if (!existsSync(runner)) {
    return { passed: 0, failed: 0, skipped: 'the public runner is not built: interop/install.sh says why' };
  }
  const settings = ['--conf', 'conformance/features.yaml', '--mode', mode];
  const program = [process.execPath, ...typescript, `conformance/${mode}.ts`];
  const { code, output } = await run(runner, [...settings, '--', ...program]);
  const [, passed, failed] = /^(\d+) passed, (\d+) failed$/m.exec(output) ?? [undefined, 0, 1];
  const all = Number(passed) === cases && code === 0;
  if (!all) console.log(`the runner has ${cases} cases, and all of them must pass`);
  return { passed: Number(passed), failed: all ? 0 : Math.max(1, Number(failed)), skipped: '' };
}

/** A real GOST at either end, at both, and as a node beside ours. */
const gost = ['sdk', 'tunnel', 'chain', 'reverse', 'tunnels', 'entrypoints', 'nodes', 'router-nodes'];

const suites = {
  go: () => tests('go/go.test.ts'),
  'go-plugins': () => tests('go/proxy.test.ts', 'go/tunnels.test.ts'),
  python: () => tests('python/python.test.ts'),
  'grpc-js': () => tests('node-grpc-js/grpc-js.test.ts'),
  curl: () => tests('curl/curl.test.ts'),
  gost: () => tests(...gost.map((name) => `gost/${name}.test.ts`)),
  redis: () => tests('redis/redis.test.ts', 'redis/sd.test.ts', 'redis/tunnels-plugin.test.ts'),
  netns: () => tests('netns/tunnels.test.ts', 'netns/several-nodes.test.ts', 'netns/faults.test.ts'),
  tun: () => tests('netns/tun.test.ts', 'netns/tun-gost.test.ts'),
  'conformance-client': () => conformance('client', 252),
  'conformance-server': () => conformance('server', 179),
  'tunnels-page': () => tests('netns/tunnels-page.test.ts'),
  'seed-page': () => tests('seed-page/seed-page.test.ts'),
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in suites));
if (unknown.length > 0) {
  console.error(`no suite is called ${unknown.join(', ')}; there are ${Object.keys(suites).join(', ')}`);
  process.exit(2);
}

let passed = 0;
let failed = 0;
const skips = [];
for (const [name, suite] of Object.entries(suites)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const start = Date.now();
  const result = await suite();
  // A suite that ran nothing and gives no reason is not one that passed.
  if (result.passed + result.failed === 0 && result.skipped === '') result.failed = 1;
  passed += result.passed;
  failed += result.failed;
  if (result.skipped !== '') skips.push(`${name}: ${result.skipped}`);
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  console.log(`-- interop ${name}: ${result.passed} passed, ${result.failed} failed in ${seconds} s`);
}
rmSync(folder, { recursive: true });
for (const skip of skips) console.log(`SKIPPED, not passed: interop ${skip}`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
