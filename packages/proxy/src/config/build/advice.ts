import { PluginError } from '@sallyport/plugin';
import type { Call, Methods, Policy } from '@sallyport/plugin';
import type { PluginConfig } from '../sections/plugin.ts';
import { formatPlace } from '../../schema/source.ts';

/**
 * Why a plugin could not be asked, with what to change in the file where that is known. `reason` is the message of the
 * PluginError, whose own general advice gives way to the exact one.
 */
export function explain(reason: string, plugin: PluginConfig): string {
  const hint = advice(reason, plugin);
  return hint === undefined
    ? reason
    : `${reason.replace(/ does not speak TLS:.*/, ' does not speak TLS')}; ${hint}`;
}

/**
 * What to change in the file when a plugin cannot be asked for this reason, or undefined when the reason is not one that a
 * file can mend. `reason` is the message of the PluginError.
 */
function advice(reason: string, plugin: PluginConfig): string | undefined {
  const tls = plugin.has('tls') ? formatPlace(plugin.keyAt('tls')) : undefined;
  if (tls === undefined) return undefined;
  if (/does not speak TLS/.test(reason)) {
    return `to ask it in the clear remove \`tls\` (${tls}); to ask it over TLS give the plugin's program a certificate`;
  }
  if (/self[- ]signed|unable to (verify|get)|unknown (ca|authority)|not trusted/i.test(reason)) {
    return `if this is its certificate, name the authority that signed it: \`caFile\` in \`tls\` (${tls})`;
  }
  if (/altnames|does not match certificate/i.test(reason)) {
    return `if this is its certificate, say which name it has: \`serverName\` in \`tls\` (${tls})`;
  }
  return undefined;
}

/** The same policy, whose "could not ask" also says what to change in the file. */
export function withAdvice<M extends Methods>(policy: Policy<M>, plugin: PluginConfig): Policy<M> {
  const add = (reason: string) => explain(reason, plugin);
  const wrapped: Record<string, unknown> = {};
  for (const [name, method] of Object.entries(policy)) {
    wrapped[name] = async (ask: unknown, call: Call) => {
      const { observe } = call;
      const watched: Call =
        observe === undefined
          ? call
          : {
              ...call,
              observe: (event) => {
                observe(event.error === undefined ? event : { ...event, error: add(event.error) });
              },
            };
      try {
        return await (method as (ask: unknown, call: Call) => unknown)(ask, watched);
      } catch (error) {
        if (!(error instanceof PluginError)) throw error;
        const message = add(error.message);
        throw message === error.message ? error : new PluginError(error.code, message, error);
      }
    };
  }
  return wrapped as Policy<M>;
}
