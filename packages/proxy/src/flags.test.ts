import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseFlags } from './flags.ts';

const flags = (...args: string[]) => {
  const { flags: found, problems } = parseFlags(args);
  expect(problems).toEqual([]);
  return found;
};
const problem = (...args: string[]) => {
  const { problems } = parseFlags(args);
  expect(problems).toHaveLength(1);
  return problems[0];
};

test('the ways to write one flag mean the same', () => {
  for (const args of [['-C', 'a.yml'], ['-C=a.yml'], ['--C', 'a.yml'], ['--C=a.yml']]) {
    expect(flags(...args).configs).toEqual(['a.yml']);
  }
  expect(flags('-C', 'a', '-C=-', '-C', '{"a": "x=y"}').configs).toEqual(['a', '-', '{"a": "x=y"}']);
  expect(flags('-D').level).toBe('debug');
  expect(flags('-D', '-DD').level).toBe('trace');
  expect(flags('-D=false').level).toBeUndefined();
  expect(flags('-lenient', '-V', '-h')).toMatchObject({ lenient: true, version: true, help: true });
});

test('check takes files with and without -C', () => {
  expect(flags('check', 'a', '-C', 'b', '--lenient')).toMatchObject({
    command: 'check',
    configs: ['b', 'a'],
    lenient: true,
  });
  expect(flags('check', '-').configs).toEqual(['-']);
  expect(problem('check')).toMatch(/needs the name of a file/);
});

test('services and nodes are kept in order, beside files', () => {
  expect(flags('-L', ':1', '-F=a:1', '-C', 'x.yml', '-L', ':2', '--F', 'b:2')).toMatchObject({
    services: [':1', ':2'],
    nodes: ['a:1', 'b:2'],
    configs: ['x.yml'],
  });
  expect(flags('check', '-L', ':1')).toMatchObject({ command: 'check', services: [':1'], configs: [] });
});

test('-O and -R', () => {
  expect(flags('-L', ':1', '-O', 'JSON').print).toBe('json');
  expect(flags('-R', '1m30s').reloadMs).toBe(90_000);
  expect(flags('-R=1.5s').reloadMs).toBe(1500);
  expect(flags().reloadMs).toBeUndefined();
  expect(flags().print).toBeUndefined();
});

test("GOST's flags without which everything else runs are told of", () => {
  expect(flags('-api', ':18080', '--metrics=:9000', '-L', ':1')).toMatchObject({
    services: [':1'],
    ignored: [
      "GOST's -api (the web API) is not served by this version",
      "GOST's -metrics (the metrics endpoint) is not served by this version",
    ],
  });
});

test.each([
  [['-R', '30'], /-R is a duration/],
  [['-R', '1ms'], /-R is a duration/],
  [['-O', 'toml'], /-O is `yaml` or `json`/],
  [['-L'], /-L needs a service as a URL/],
  [['--leniant'], /unknown flag -leniant; did you mean `-lenient`\?/],
  [['gost.yml'], /write `-C gost\.yml`/],
  [['http://me:hunter2@h'], /unexpected argument `http:\/\/\*\*\*@h`; a service is `-L URL`/],
  [['-C'], /-C needs/],
  [['-D=maybe'], /is on or off/],
  [['-V', '--', '-C', 'x'], /several workers/],
])('%j', (args, message) => {
  expect(problem(...args)).toMatch(message);
  expect(problem(...args)).not.toMatch(/hunter2/);
});

test('any arguments give flags or problems', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string(), fc.constantFrom('-', '--', '-=', '-C', '=', '-L', '---x', 'check'))),
      (args) => {
        const { problems } = parseFlags(args);
        for (const text of problems) expect(text).not.toBe('');
      },
    ),
  );
});
