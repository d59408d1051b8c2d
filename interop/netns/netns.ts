// Several hosts on one machine: network namespaces that a test makes itself, joined by a switch. Each has a real address.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { startProgram } from '../../packages/proxy/test/program.ts';
import type { Program } from '../../packages/proxy/test/program.ts';

const run = promisify(execFile);

/** One host of a network. */
export interface Host {
  readonly name: string;
  /** In 192.0.2.0/24, which nobody else has (RFC 5737). */
  readonly address: string;
  /** The name of its namespace. */
  readonly namespace: string;
  /** Starts a program there. It is ended with the network, if nobody ends it before. */
  start(
    command: string,
    args: readonly string[],
    options?: { readonly input?: string; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string },
  ): Program;
  /** Runs a program there to its end. Never rejects for an exit code; it is killed after `ms`, 20 s where that is absent. */
  run(command: string, args: readonly string[], ms?: number): Promise<Ran>;
  /** Takes the cable out: nothing comes and nothing goes, and nobody is told. */
  unplug(): Promise<void>;
  /** Puts it back. */
  plug(): Promise<void>;
}

/** What became of a program. */
export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  /** Undefined where it was killed. */
  readonly code: number | undefined;
}

/** Hosts that can reach each other. Whoever made them closes them. */
export interface Network {
  host(name: string): Host;
  /** Ends what still runs, and takes the hosts away. */
  close(): Promise<void>;
}

/** Why no host can be made here; undefined: some can. */
export async function missingNamespaces(): Promise<string | undefined> {
  const name = `sallyport-${String(process.pid)}-try`;
  try {
    await ip('netns', 'add', name);
    await ip('netns', 'exec', name, 'true');
    return undefined;
  } catch (error) {
    return `network namespaces cannot be made here: ${String((error as { stderr?: string }).stderr ?? error).trim()}`;
  } finally {
    await ip('netns', 'delete', name).catch(() => undefined);
  }
}

let networks = 0;

/** Makes hosts with the addresses 192.0.2.1 and so on, in the order of their names. */
export async function createNetwork(...names: readonly string[]): Promise<Network> {
  // Names of interfaces have 15 characters at most, and namespaces are known to the whole machine.
  const prefix = `sallyport-${String(process.pid)}-${String(networks++)}`;
  const hub = `${prefix}-switch`;
  const made: string[] = [];
  const programs: Program[] = [];
  const add = async (namespace: string) => {
    await ip('netns', 'add', namespace);
    made.push(namespace);
    await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  };
  const close = async () => {
    await Promise.all(programs.map((program) => program.stop('SIGKILL')));
    for (const namespace of made) await ip('netns', 'delete', namespace);
  };
  const hosts = new Map<string, Host>();
  try {
    await add(hub);
    await ip('-n', hub, 'link', 'add', 'bridge', 'type', 'bridge');
    await ip('-n', hub, 'link', 'set', 'bridge', 'up');
    for (const [index, name] of names.entries()) {
      const namespace = `${prefix}-${name}`;
      const address = `192.0.2.${String(index + 1)}`;
      const port = `port${String(index)}`;
      await add(namespace);
      await ip(
        ...['-n', hub, 'link', 'add', port, 'type', 'veth'],
        ...['peer', 'name', 'eth0', 'netns', namespace],
      );
      await ip('-n', hub, 'link', 'set', port, 'master', 'bridge', 'up');
      await ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
      await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
      hosts.set(name, {
        name,
        address,
        namespace,
        start(command, args, options) {
          const program = startProgram('ip', ['netns', 'exec', namespace, command, ...args], options);
          programs.push(program);
          return program;
        },
        async run(command, args, ms = 20_000) {
          const within = ['netns', 'exec', namespace, command, ...args];
          try {
            const { stdout, stderr } = await run('ip', within, { timeout: ms, killSignal: 'SIGKILL' });
            return { stdout, stderr, code: 0 };
          } catch (error) {
            const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: unknown };
            return { stdout, stderr, code: typeof code === 'number' ? code : undefined };
          }
        },
        unplug: async () => {
          await ip('-n', hub, 'link', 'set', port, 'down');
        },
        plug: async () => {
          await ip('-n', hub, 'link', 'set', port, 'up');
        },
      });
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    host(name) {
      const host = hosts.get(name);
      if (host === undefined) throw new Error(`there is no host ${name}`);
      return host;
    },
    close,
  };
}

async function ip(...args: readonly string[]): Promise<void> {
  await run('ip', args);
}
