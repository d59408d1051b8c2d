import { expect, test } from 'vitest';
import { parseTree } from '../schema/parse.ts';
import { mapping, optional, text } from '../schema/read.ts';
import { createReport, formatFindings } from '../schema/report.ts';
import { createSource } from '../schema/source.ts';
import { resolveConfig } from './references.ts';
import { readConfig } from './sections/services.ts';

/** Reads a file whose one handler has this metadata, as a handler with these keys would read it, and looks its names up. */
function resolve(file: string, metadata: string) {
  const report = createReport();
  const reading = { report, lenient: false };
  const tree = (name: string, content: string) => parseTree(createSource(name, content), report)!;
  const config = readConfig(tree('f.yml', file), '', reading)!;
  const keys = mapping({ ingress: optional(text()), sd: optional(text()), router: optional(text()) });
  const found = keys(tree('m.yml', metadata), 'services[0].handler.metadata', reading);
  const [service] = config.services!;
  const handler = { ...service!.handler!, metadata: found };
  resolveConfig([{ ...config, services: [{ ...service!, handler }] } as typeof config], report);
  return {
    errors: formatFindings(report.errors),
    warnings: formatFindings(report.warnings),
  };
}

const file = `services:
- { name: front, addr: ":0", handler: { type: http } }
ingresses: [{ name: names }]
routers: [{ name: routes }]
sds: [{ name: nodes, redis: { addr: ":6379" } }]
`;

test('what a handler names in its metadata is looked up', () => {
  expect(resolve(file, 'ingress: names\nsd: nodes\nrouter: routes')).toEqual({ errors: [], warnings: [] });
  expect(resolve(file, 'ingress: name\nsd: routes\nrouter: x').errors).toEqual([
    'm.yml:1:10: services[0].handler.metadata.ingress: front: ingress `name` is not defined; defined: names; did you mean `names`?',
    'm.yml:2:5: services[0].handler.metadata.sd: front: sd `routes` is not defined; defined: nodes',
    'm.yml:3:9: services[0].handler.metadata.router: front: router `x` is not defined; defined: routes',
  ]);
  expect(
    resolve('services:\n- { name: front, addr: ":0", handler: { type: http } }\n', 'sd: x').errors,
  ).toEqual(['m.yml:1:5: services[0].handler.metadata.sd: front: sd `x` is not defined; no sd is defined']);
});

test('with compat.missingReferences it is a warning', () => {
  const { errors, warnings } = resolve(`${file}compat: { missingReferences: true }\n`, 'sd: x');
  expect(errors).toEqual([]);
  expect(warnings).toEqual([
    'm.yml:1:5: services[0].handler.metadata.sd: front: sd `x` is not defined; defined: nodes (ignored, `compat.missingReferences`)',
  ]);
});
