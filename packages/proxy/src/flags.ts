import { gostFlags } from './config/gost-names.ts';
import { didYouMean } from './schema/nearest.ts';

/** What the command line asks for. */
export interface Flags {
  readonly command: 'run' | 'check';
  /** Every `-C`, in order; for `check` also the files named after it. */
  readonly configs: readonly string[];
  /** Every `-L`, in order. */
  readonly services: readonly string[];
  /** Every `-F`, in order. */
  readonly nodes: readonly string[];
  /** `-O`: print the configuration and end. */
  readonly print: 'yaml' | 'json' | undefined;
  /** `-R`: how often it is looked whether the configuration has changed, in milliseconds. */
  readonly reloadMs: number | undefined;
  readonly lenient: boolean;
  readonly help: boolean;
  readonly version: boolean;
  /** `-D` and `-DD`; the louder one counts. */
  readonly level: 'debug' | 'trace' | undefined;
  /** What is to be warned of and changes nothing: GOST's flags without which everything else runs. */
  readonly ignored: readonly string[];
}

const booleans = ['D', 'DD', 'V', 'h', 'help', 'lenient'] as const;
type BooleanFlag = (typeof booleans)[number];

/** Flags with a value, and what that is. */
const wanted = {
  C: 'the name of a file, or `-` for standard input',
  L: 'a service as a URL',
  F: 'a node as a URL',
  O: '`yaml` or `json`',
  R: 'a duration such as `30s`',
} as const;
type ValueFlag = keyof typeof wanted;

/**
 * Reads arguments as Go's flag package does: `-x v`, `-x=v`, `--x v` and `--x=v` mean the same, a flag that is yes or no
 * takes a value only after `=`. Unlike Go's, flags may also follow what is no flag. What is wrong is answered as a list of
 * sentences; nothing is thrown.
 */
export function parseFlags(args: readonly string[]): { flags: Flags; problems: readonly string[] } {
  const problems: string[] = [];
  const values: Record<ValueFlag, string[]> = { C: [], L: [], F: [], O: [], R: [] };
  const files: string[] = [];
  const ignored: string[] = [];
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
          argument.includes('://')
            ? `unexpected argument \`${brief(argument)}\`; a service is \`-L URL\`, a node \`-F URL\``
            : `unexpected argument \`${brief(argument)}\`; to read a file write \`-C ${brief(argument)}\``,
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
    } else if (isValueFlag(name)) {
      const value = match[2] ?? args[++index];
      if (value === undefined || value === '') problems.push(`-${name} needs ${wanted[name]}`);
      else values[name].push(value);
    } else if (Object.hasOwn(gostFlags, name)) {
      if (match[2] === undefined) index++;
      ignored.push(`GOST's -${name} (${gostFlags[name]!}) is not served by this version`);
    } else {
      const known = [...booleans, ...Object.keys(wanted), ...Object.keys(gostFlags)];
      problems.push(`unknown flag -${brief(name)}${didYouMean(name, known).replace(/`(.*)`/, '`-$1`')}`);
    }
  }
  const configs = [...values.C, ...files];
  const print = values.O.at(-1)?.toLowerCase();
  if (print !== undefined && print !== 'yaml' && print !== 'json') problems.push('-O is `yaml` or `json`');
  const reloadMs = values.R.length === 0 ? undefined : parseDurationMs(values.R.at(-1)!);
  if (values.R.length > 0 && reloadMs === undefined)
    problems.push('-R is a duration of at least a second and at most a day, such as `30s`');
  if (check && configs.length + values.L.length === 0 && !on.has('help') && !on.has('h')) {
    problems.push('check needs the name of a file, or `-` for standard input');
  }
  const flags: Flags = {
    command: check ? 'check' : 'run',
    configs,
    services: values.L,
    nodes: values.F,
    print: print === 'yaml' || print === 'json' ? print : undefined,
    reloadMs,
    lenient: on.has('lenient'),
    help: on.has('help') || on.has('h'),
    version: on.has('V'),
    level: on.has('DD') ? 'trace' : on.has('D') ? 'debug' : undefined,
    ignored,
  };
  return { flags, problems };
}

function isValueFlag(name: string): name is ValueFlag {
  return Object.hasOwn(wanted, name);
}

/** Of Go's durations what `-R` may be. */
function parseDurationMs(text: string): number | undefined {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?)(ms|s|m|h)/g)];
  if (parts.map(([all]) => all).join('') !== text) return undefined;
  const ms = parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit!]!, 0);
  return ms >= 1000 && ms <= 86_400_000 ? ms : undefined;
}

/** An argument for a message: userinfo of a URL is masked, and a long one is cut. */
function brief(argument: string): string {
  const masked = argument.replace(/(:\/\/)[^/@]*@/, '$1***@');
  return masked.length > 60 ? `${masked.slice(0, 60)}…` : masked;
}

/** A few lines for somebody who wrote something that is not understood. */
export const usage = `usage: sallyport -L URL [-F URL]   run a service, through a chain of nodes
       sallyport -C FILE           run what FILE (YAML or JSON, as for GOST) describes
       sallyport --help            say more`;

/** What \`--help\` prints. */
export const help = `sallyport: a proxy whose decisions other programs take

A proxy on port 8080, for everybody; then for one user:
  sallyport -L http://:8080
  sallyport -L http://user:password@:8080
A plugin decides who may use it, another one what they may reach:
  sallyport -L "http://:8080?auther=grpc://token@127.0.0.1:8000&bypass=plugin+http://127.0.0.1:8001"
Through other proxies, one after the other; of several in one -F one is chosen:
  sallyport -L :8080 -F socks5://first:1080 -F https://second:8443,third:8443
A port that leads somewhere else:
  sallyport -L tcp://:2222/10.0.0.5:22
What stands in files; what is wrong with them, and whether their plugins answer:
  sallyport -C gost.yml
  sallyport check gost.yml
The file that does the same as the flags:
  sallyport -L http://:8080 -O yaml

A URL: [scheme://][user:password@][host]:port[/target][?name=value&name=value]
  The scheme is a handler and a listener, \`http+tls\`; one word stands for both, none for auto.
  Of -F it is a connector and a dialer. Parameters are those of GOST, and modules:
    auther admission bypass hosts resolver limiter recorder observer rewriter hop
    ingress sd router
  each with a plugin's URL: grpc://token@host:port, grpcs://, plugin+http://, plugin+https://
  (of it: ?timeout=1s; a file has all settings). Quote what holds \`&\` or \`?\`.

Flags (-x v, -x=v, --x v and --x=v are the same):
  -L URL      a service; may be given several times
  -F URL      a node; all of them together are one chain, for every -L
  -C FILE     configuration; may be given several times, files and flags become one.
              \`-\` is standard input, \`{…}\` is JSON itself
  -O yaml|json  print the whole configuration, passwords as well, and end
  -R 30s      look so often whether the configuration has changed (changes are also noticed by themselves)
  -D, -DD     log more: debug, trace
  -V          print the version
  --lenient   unknown keys and parameters are warnings instead of errors
  -h, --help  this text
Without -L, -F and -C: gost.json, gost.yaml or gost.yml of /etc/gost, $HOME/.gost or this folder.

SIGHUP: read the configuration again; connections go on, and what is wrong changes nothing.
SIGTERM or SIGINT (Ctrl-C): no new connections, those that are open may finish; once more: end at once.
Exit codes: 0 ended as asked, 1 something failed while running, 2 wrong flags or configuration;
of check: 1 a plugin cannot be asked, 2 the configuration is wrong.
GOST_LOGGER_LEVEL sets the log level where neither -D nor -DD does.`;
