// Peers are programs: started here, read line by line, ended through their standard input.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A running peer that prints one JSON value a line. */
export interface PeerProgram {
  /** The next line that nobody has taken yet. Rejects when the program ends first, or after 15 seconds. */
  next(): Promise<Record<string, unknown>>;
  /** Closes its standard input, which is how it is told to end, and waits. A program that does not end is killed. */
  stop(): Promise<void>;
}

/** Starts a peer. What it writes to standard error is kept and becomes part of the error when it fails. */
export function startPeer(command: readonly string[], cwd?: string): PeerProgram {
  const child = spawn(command[0]!, command.slice(1), { cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  const lines: Record<string, unknown>[] = [];
  const waiting: (() => void)[] = [];
  let stderr = '';
  let over = false;
  const wake = () => {
    for (const one of waiting.splice(0)) one();
  };
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined); // A program that ends by itself is seen in its exit code.
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
    wake();
  });
  const ended = new Promise<number | null>((resolve) => {
    child.on('error', (error) => {
      stderr += String(error);
      resolve(null);
    });
    child.on('close', resolve);
  }).then((code) => {
    over = true;
    wake();
    return code;
  });

  return {
    async next() {
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
      try {
        while (lines.length === 0) {
          if (over) throw new Error(`${command.join(' ')} ended without another line: ${stderr}`);
          await new Promise<void>((resolve) => waiting.push(resolve));
        }
      } finally {
        clearTimeout(timer);
      }
      return lines.shift()!;
    },
    async stop() {
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
      const code = await ended;
      clearTimeout(timer);
      assert.equal(code, 0, `${command.join(' ')} ended with ${String(code)}: ${stderr}`);
    },
  };
}

/** Runs a peer to its end and returns all lines. */
export async function runPeer(command: readonly string[], count: number): Promise<Record<string, unknown>[]> {
  const program = startPeer(command);
  const lines: Record<string, unknown>[] = [];
  try {
    while (lines.length < count) lines.push(await program.next());
  } finally {
    await program.stop();
  }
  return lines;
}
