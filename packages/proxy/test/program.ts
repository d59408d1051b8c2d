import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../bin/sallyport.js', import.meta.url));

/** Something that this test started and whose output it reads line by line. It is ended by its own process id. */
export interface Program {
  readonly process: ChildProcess;
  readonly lines: readonly string[];
  /** Resolves with the first line, already printed or still to come, that matches; rejects at exit or after `ms`. */
  line(pattern: RegExp, ms?: number): Promise<string>;
  /** SIGTERM, and SIGKILL if it is not gone after five seconds. Resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts a program and collects what it prints on both outputs. `input` goes to its standard input, which is then closed. */
export function startProgram(
  command: string,
  args: readonly string[],
  options: { input?: string; env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Program {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
  });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const exited = new Promise<number | null>((resolve) => {
    child.on('error', (error) => {
      lines.push(String(error));
      resolve(null);
    });
    child.on('close', (code) => {
      resolve(code);
    });
  });
  let over = false;
  void exited.then(() => {
    over = true;
    for (const check of [...waiting]) check();
  });
  for (const output of [child.stdout, child.stderr]) {
    let rest = '';
    output.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts);
      for (const check of [...waiting]) check();
    });
  }
  // A program that ends at once closes its input; that is seen in its exit code.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  return {
    process: child,
    lines,
    line(pattern, ms = 15_000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          done();
          reject(new Error(`no line matched ${String(pattern)} in ${String(ms)} ms:\n${lines.join('\n')}`));
        }, ms);
        const done = () => {
          clearTimeout(timer);
          waiting.delete(check);
        };
        const check = () => {
          const found = lines.find((line) => pattern.test(line));
          if (found !== undefined) {
            done();
            resolve(found);
          } else if (over) {
            done();
            reject(new Error(`ended before a line matched ${String(pattern)}:\n${lines.join('\n')}`));
          }
        };
        waiting.add(check);
        check();
      });
    },
    async stop(signal = 'SIGTERM') {
      if (!over) child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
      const code = await exited;
      clearTimeout(timer);
      return code;
    },
  };
}

/** The real binary with a configuration on its standard input, and the port on which its first service listens. */
export interface Sallyport extends Program {
  readonly port: number;
}

/** Starts the built program (`npm run build`) with `-C -`. Services should listen on `127.0.0.1:0`. */
export async function startSallyport(config: string, args: readonly string[] = []): Promise<Sallyport> {
  const program = startProgram(process.execPath, [launcher, ...args, '-C', '-'], { input: config });
  const line = await program.line(/listening/);
  const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1];
  if (port === undefined) throw new Error(`no port in: ${line}`);
  return { ...program, port: Number(port) };
}
