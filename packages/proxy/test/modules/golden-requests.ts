// What a real GOST asked, as fields of the wire, beside what our proxy asked at the same place.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { contractOf } from '@sallyport/plugin';
import type { ModuleKind } from '@sallyport/plugin';
import type { Asked } from './plugins.ts';

const folder = fileURLToPath(new URL('../../../../../shared/reference/golden/', import.meta.url));

/** Whether the requests are there to be compared with. */
export const hasGolden = existsSync(folder);

/** The fields of GOST's request at this place, with `<>` for what changes from call to call. */
export function goldenFields(module: ModuleKind, callSite: string): unknown {
  const { grpc } = JSON.parse(readFileSync(`${folder}${module}.json`, 'utf8')) as {
    readonly grpc: readonly { readonly callSite: string; readonly fields: unknown }[];
  };
  const found = grpc.find((one) => one.callSite === callSite);
  if (found === undefined) throw new Error(`GOST asked ${module} nothing at: ${callSite}`);
  return found.fields;
}

/** The fields of a question as the wire has them, with the same marks. */
export function fieldsOf([method, ask]: Asked): unknown {
  const [kind, name] = method.split('.') as [ModuleKind, string];
  const { wire } = contractOf(kind).methods[name]!;
  const text = JSON.stringify(wire.request(ask))
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, '<uuid>')
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:<port>')
    .replaceAll(/"[\da-f]{16}"/g, '"<md5-16>"');
  return JSON.parse(text);
}
