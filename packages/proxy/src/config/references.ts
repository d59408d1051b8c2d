import { didYouMean } from '../schema/nearest.ts';
import type { Report } from '../schema/report.ts';
import { formatPlace } from '../schema/source.ts';
import type { Place } from '../schema/source.ts';
import type { AutherConfig, FileConfig, LogConfig, ServiceConfig } from './schema.ts';

/** All files together: lists one after the other, and of `log` the last, as GOST merges them. */
export interface Config {
  readonly services: readonly (ServiceConfig & { readonly name: string })[];
  readonly authers: readonly AutherConfig[];
  readonly log: LogConfig | undefined;
}

/**
 * Merges the files and looks up every name that one thing calls another by. A name that nobody has is an error (GOST
 * lets everybody in), and so is a name that two have. A service without a name is called `service-0`, `service-1`, … by
 * its place in the list, as GOST names those of its command line.
 */
export function mergeConfigs(files: readonly FileConfig[], report: Report): Config {
  const services = files
    .flatMap((file) =>
      (file.services ?? []).map((service, index) => ({ service, path: `services[${String(index)}]` })),
    )
    .map(({ service, path }, index) => ({
      path,
      service: { ...service, name: service.name ?? `service-${String(index)}` },
    }));
  const authers = files.flatMap((file) =>
    (file.authers ?? []).map((auther, index) => ({ auther, path: `authers[${String(index)}]` })),
  );
  unique(
    'service',
    services.map(({ service, path }) => ({ name: service.name, path, place: service.at('name') })),
    report,
  );
  unique(
    'auther',
    authers.map(({ auther, path }) => ({ name: auther.name, path, place: auther.at('name') })),
    report,
  );
  const known = [...new Set(authers.map(({ auther }) => auther.name).filter((name) => name !== undefined))];
  for (const { service, path } of services) {
    const { handler } = service;
    // Gaps are there only beside errors that are already reported.
    if (handler === undefined) continue;
    const wanted = [
      ...(handler.auther === undefined ? [] : [{ name: handler.auther, key: 'auther' }]),
      ...(handler.authers ?? []).map((name) => ({ name, key: 'authers' })),
    ];
    for (const { name, key } of wanted) {
      if (known.includes(name)) continue;
      const defined = known.length === 0 ? 'no auther is defined' : `defined: ${known.join(', ')}`;
      report.error(
        handler.at(key),
        `${path}.handler.${key}`,
        `${service.name}: auther \`${name}\` is not defined; ${defined}${didYouMean(name, known)}`,
      );
    }
  }
  return {
    services: services.map(({ service }) => service),
    authers: authers.map(({ auther }) => auther),
    log: files.findLast((file) => file.log !== undefined)?.log,
  };
}

function unique(
  what: string,
  named: readonly { readonly name: string | undefined; readonly path: string; readonly place: Place }[],
  report: Report,
): void {
  const first = new Map<string, Place>();
  for (const { name, path, place } of named) {
    if (name === undefined) continue;
    const taken = first.get(name);
    if (taken === undefined) first.set(name, place);
    else
      report.error(
        place,
        `${path}.name`,
        `a second ${what} \`${name}\`; the first is at ${formatPlace(taken)}`,
      );
  }
}
