import type { SdService } from '@sallyport/plugin';
import { PluginError } from '@sallyport/plugin';

const fields = ['id', 'name', 'node', 'network', 'address'] as const;

/** What tells one registration of a name from another: the connection, and the machine that it leads to. */
export function entryKey({ id, node }: SdService): string {
  return JSON.stringify([node, id]);
}

/** A registration as it is kept: JSON, all fields, in GOST's order. */
export function formatEntry(service: SdService): string {
  return JSON.stringify(service, [...fields]);
}

/** Reads what is kept. Throws PluginError `badReply` for what we did not write, so that nothing is guessed. */
export function parseEntry(text: string): SdService {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PluginError('badReply', 'what is kept there is no JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new PluginError('badReply', 'what is kept there is no service');
  const found: Record<string, unknown> = value as Record<string, unknown>;
  const service: Record<string, string> = {};
  for (const field of fields) {
    const part = found[field];
    if (typeof part !== 'string')
      throw new PluginError('badReply', `what is kept there has no \`${field}\` that is a text`);
    service[field] = part;
  }
  return service as unknown as SdService;
}
