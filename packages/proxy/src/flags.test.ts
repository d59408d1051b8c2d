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

test.each([
  [['-L', 'http://me:hunter2@:8080'], /^GOST's -L \(a service as a URL\) is not served/],
  [['-F=http://me:hunter2@:8080'], /GOST's -F/],
  [['-api', ':18080'], /GOST's -api/],
  [['--metrics=:9000'], /GOST's -metrics/],
  [['-R', '30s'], /GOST's -R/],
  [['-O', 'yaml'], /GOST's -O/],
  [['--leniant'], /unknown flag -leniant; did you mean `-lenient`\?/],
  [['gost.yml'], /write `-C gost\.yml`/],
  [['http://me:hunter2@h'], /unexpected argument `http:\/\/\*\*\*@h`/],
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
