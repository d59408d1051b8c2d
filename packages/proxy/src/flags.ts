import { gostFlags } from './config/gost-names.ts';
import { didYouMean } from './schema/nearest.ts';

/** What the command line asks for. */
export interface Flags {
  readonly command: 'run' | 'check';
  /** Every `-C`, in order; for `check` also the files named after it. */
  readonly configs: readonly string[];
  readonly lenient: boolean;
  readonly help: boolean;
  readonly version: boolean;
  /** `-D` and `-DD`; the louder one counts. */
  readonly level: 'debug' | 'trace' | undefined;
}

const booleans = ['D', 'DD', 'V', 'h', 'help', 'lenient'] as const;
type BooleanFlag = (typeof booleans)[number];

/**
 * Reads arguments as Go's flag package does: `-x v`, `-x=v`, `--x v` and `--x=v` mean the same, a flag that is yes or no
 * takes a value only after `=`. Unlike Go's, flags may also follow what is no flag. What is wrong is answered as a list of
 * sentences; nothing is thrown.
 */
export function parseFlags(args: readonly string[]): { flags: Flags; problems: readonly string[] } {
  const problems: string[] = [];
  const configs: string[] = [];
  const files: string[] = [];
  const on = new Set<BooleanFlag>();
  const check = args[0] === 'check';
  for (let index = check ? 1 : 0; index < args.length; index++) {
    const argument = args[index]!;
    if (argument === '--') {
      problems.push('several workers (`--`) are not served by this version; start several processes');
      break;
    }
    const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(argument);
    if (match === null) {
      if (check) files.push(argument);
      else
        problems.push(
          `unexpected argument \`${brief(argument)}\`; to read a file write \`-C ${brief(argument)}\``,
        );
      continue;
    }
    const name = match[1]!;
    const flag = booleans.find((candidate) => candidate === name);
    if (flag !== undefined) {
      const value = match[2] ?? 'true';
      if (/^(true|t|1)$/i.test(value)) on.add(flag);
      else if (/^(false|f|0)$/i.test(value)) on.delete(flag);
      else problems.push(`-${name} is on or off; \`${brief(value)}\` is neither`);
    } else if (name === 'C') {
      const value = match[2] ?? args[++index];
      if (value === undefined || value === '')
        problems.push('-C needs the name of a file, or `-` for standard input');
      else configs.push(value);
    } else if (Object.hasOwn(gostFlags, name)) {
      if (match[2] === undefined) index++;
      problems.push(`GOST's -${name} (${gostFlags[name]!}) is not served by this version; use a file and -C`);
    } else {
      const known = [...booleans, 'C', ...Object.keys(gostFlags)];
      problems.push(`unknown flag -${brief(name)}${didYouMean(name, known).replace(/`(.*)`/, '`-$1`')}`);
    }
  }
  if (check && configs.length + files.length === 0 && !on.has('help') && !on.has('h')) {
    problems.push('check needs the name of a file, or `-` for standard input');
  }
  const flags: Flags = {
    command: check ? 'check' : 'run',
    configs: [...configs, ...files],
    lenient: on.has('lenient'),
    help: on.has('help') || on.has('h'),
    version: on.has('V'),
    level: on.has('DD') ? 'trace' : on.has('D') ? 'debug' : undefined,
  };
  return { flags, problems };
}

/** An argument for a message: userinfo of a URL is masked, and a long one is cut. */
function brief(argument: string): string {
  const masked = argument.replace(/(:\/\/)[^/@]*@/, '$1***@');
  return masked.length > 60 ? `${masked.slice(0, 60)}…` : masked;
}

/** Two lines for somebody who wrote something that is not understood. */
export const usage = `usage: sallyport -C FILE     run what FILE (YAML or JSON, as for GOST) describes
       sallyport --help      say more`;

/** What \`--help\` prints. */
export const help = `sallyport: a proxy whose decisions other programs take

  sallyport -C gost.yml           run it; -C may be given several times, the files become one
  sallyport -C -                  read standard input
  sallyport -C '{"services":[…]}' read JSON from the command line
  sallyport check gost.yml        say what is wrong with it, or that it is good, and do nothing else
  sallyport                       run gost.json, gost.yaml or gost.yml of /etc/gost, $HOME/.gost or this folder

Flags (-x v, -x=v, --x v and --x=v are the same):
  -C FILE     configuration
  -D, -DD     log more: debug, trace
  -V          print the version
  --lenient   unknown keys are warnings instead of errors
  -h, --help  this text

A first configuration: an HTTP proxy on port 8080 that asks a plugin who may use it.

  services:
  - name: front
    addr: ":8080"
    handler:
      type: http
      auther: users
  authers:
  - name: users
    plugin:
      type: grpc               # or http
      addr: 127.0.0.1:8000     # where the plugin listens
      token: something         # the plugin may ask for it

Then: curl -x http://USER:PASSWORD@127.0.0.1:8080 http://example.org/
Without a plugin, name the users in the file: replace \`plugin:\` and what is below it by

    auths:
    - username: somebody
      password: something

SIGTERM or SIGINT (Ctrl-C): no new connections, those that are open may finish; once more: end at once.
Exit codes: 0 ended as asked, 1 something failed while running, 2 wrong flags or configuration.
GOST_LOGGER_LEVEL sets the log level where neither -D nor -DD does.`;
