import type { MappingValue, Value } from '../schema/parse.ts';
import type { Reading } from '../schema/read.ts';
import { createSource } from '../schema/source.ts';
import type { Source } from '../schema/source.ts';
import { CliModules } from './cli-modules.ts';
import { hopOfUrl } from './cli-nodes.ts';
import { servicesOfUrl } from './cli-services.ts';
import type { CliChains } from './cli-services.ts';
import { implied, listOf, mappingOf } from './cli-tree.ts';
import { parseCliUrl } from './cli-url.ts';
import type { CliUrl } from './cli-url.ts';

/** What stands on the command line: every `-L` and every `-F`, in order. */
export interface CommandLine {
  readonly services: readonly string[];
  readonly nodes: readonly string[];
}

/**
 * Services and nodes of the command line as the tree that a file with the same meaning has, each value at its place in the
 * URL. All `-F` together are `chain-0`, through which every service of `-L` goes. Undefined where there are none, or where
 * something is wrong, which is in the report.
 */
export function readCommandLine(line: CommandLine, reading: Reading): MappingValue | undefined {
  const { report } = reading;
  const lists = new CliModules(report);
  const nodeUrls = urlsOf('-F', line.nodes, reading);
  const serviceUrls = urlsOf('-L', line.services, reading);
  const [place] = [...serviceUrls, ...nodeUrls].map((url) => url.place);
  if (place === undefined) return undefined;

  const hops = nodeUrls.flatMap((url, index) => hopOfUrl(url, index, lists, reading) ?? []);
  const chains: Value[] = [];
  const chain = (own: readonly Value[]): string => {
    const name = `chain-${String(chains.length)}`;
    const at = own.at(-1)!.place;
    chains.push(mappingOf(at, { name: implied(name, at), hops: listOf(at, own) }));
    return name;
  };
  const common = hops.length > 0 ? chain(hops) : undefined;
  const withPlugin = new Map<string, string>();
  const way: CliChains = {
    of: () => common,
    before(param) {
      const known = withPlugin.get(param.literal);
      if (known !== undefined) return known;
      const last = mappingOf(param.place, { name: lists.named('hop', param) });
      const made = chain([...hops, last]);
      withPlugin.set(param.literal, made);
      return made;
    },
  };
  let count = 0;
  const services = serviceUrls.flatMap((url) =>
    servicesOfUrl(url, () => `service-${String(count++)}`, way, lists, reading),
  );
  return mappingOf(
    place,
    {
      services: services.length === 0 ? undefined : listOf(place, services),
      chains: chains.length === 0 ? undefined : listOf(chains[0]!.place, chains),
    },
    lists.entries(),
  );
}

function urlsOf(flag: string, written: readonly string[], { report }: Reading): CliUrl[] {
  return written.flatMap((text, index) => {
    const name = written.length === 1 ? flag : `${flag} (${ordinal(index + 1)})`;
    const source: Source = createSource(name, text.trim());
    return parseCliUrl(source.text, (offset) => ({ source, offset }), report) ?? [];
  });
}

function ordinal(number: number): string {
  const teen = number % 100 > 10 && number % 100 < 14;
  return `${String(number)}${(!teen && ['th', 'st', 'nd', 'rd'][number % 10]) || 'th'}`;
}
