// A real GOST: the program of `host`, which is made of GOST's published packages.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startProgram } from '../../packages/proxy/test/program.ts';
import { runningProxy } from './programs.ts';
import type { Proxy, ProxyConfig } from './programs.ts';

const binary = path.join(import.meta.dirname, 'bin/gost');

/** Why there is no GOST to run, or false. */
export const missingGost = existsSync(binary) ? false : 'GOST is not built: interop/install.sh says why';

/** Starts GOST with this configuration and waits until every service is bound. Its home is a folder that goes with it. */
export async function startGost(config: ProxyConfig, env: NodeJS.ProcessEnv = {}): Promise<Proxy> {
  const home = mkdtempSync(path.join(tmpdir(), 'interop-gost-'));
  const cleanup = () => rmSync(home, { recursive: true });
  const input = JSON.stringify(config);
  // GOST keeps the certificates that it makes in its home, and looks for some where it is started.
  const program = startProgram(binary, ['-C', '-'], { input, env: { HOME: home, ...env }, cwd: home });
  try {
    const ready = await program.line(/^ready /);
    const addresses = JSON.parse(ready.slice('ready '.length)) as Record<string, string>;
    return runningProxy(program, new Map(Object.entries(addresses)), cleanup);
  } catch (error) {
    await program.stop('SIGKILL');
    cleanup();
    throw error;
  }
}
