// Both proxies as programs that take the same configuration, so that a test can put either at either end.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startProgram } from '../../packages/proxy/test/program.ts';
import type { Program } from '../../packages/proxy/test/program.ts';

const launcher = fileURLToPath(new URL('../../packages/proxy/bin/sallyport.js', import.meta.url));

/** What GOST and Sallyport both read: GOST's keys. Services listen on `127.0.0.1:0`. */
export interface ProxyConfig {
  readonly services: readonly { readonly name: string; readonly [key: string]: unknown }[];
  readonly [section: string]: unknown;
}

/** A proxy that runs and listens. Whoever started it calls `stop`. */
export interface Proxy {
  /** Where a service listens, `host:port`. Throws when the configuration has no such service. */
  address(service: string): string;
  /** All that it has printed until now. */
  log(): string;
  /** The first line of the log, printed or still to come, that matches. Rejects when it ends, or after 15 seconds. */
  line(pattern: RegExp): Promise<string>;
  /** Ends it by its process id and waits. Rejects, with the log, when it did not end as it should. */
  stop(): Promise<void>;
}

/**
 * Starts the built program (`npm run build`) with this configuration and waits until every service listens. Its home, where it
 * keeps the certificates that it makes, is a folder that goes with it.
 */
export async function startSallyport(config: ProxyConfig): Promise<Proxy> {
  const home = mkdtempSync(path.join(tmpdir(), 'interop-sallyport-'));
  const cleanup = () => rmSync(home, { recursive: true });
  const input = JSON.stringify(config);
  const program = startProgram(process.execPath, [launcher, '-C', '-'], { input, env: { HOME: home } });
  try {
    const addresses = new Map<string, string>();
    for (const { name } of config.services) {
      const line = await program.line(new RegExp(`\\b${name} listening on \\S`));
      addresses.set(name, / listening on (\S+)/.exec(line)![1]!);
    }
    return runningProxy(program, addresses, cleanup);
  } catch (error) {
    await program.stop('SIGKILL');
    cleanup();
    throw error;
  }
}

/** A program that has said where its services listen, as a proxy. `cleanup` runs when it has ended. */
export function runningProxy(
  program: Program,
  addresses: ReadonlyMap<string, string>,
  cleanup = () => {},
): Proxy {
  const log = () => program.lines.join('\n');
  return {
    address(service) {
      const address = addresses.get(service);
      assert.ok(address, `no service is called ${service}`);
      return address;
    },
    log,
    line: (pattern) => program.line(pattern),
    async stop() {
      const code = await program.stop();
      cleanup();
      assert.equal(code, 0, `ended with ${String(code)}:\n${log()}`);
    },
  };
}

/** Closes in the opposite order all that was opened, also when one of them fails, and rejects with the first failure. */
export async function closeAll(closing: readonly (() => unknown)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of [...closing].reverse()) {
    try {
      await close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
