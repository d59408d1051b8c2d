import { vi } from 'vitest';
import type { Call } from '../contract.ts';
import { auth } from '../contracts/auth.ts';
import { bypass } from '../contracts/bypass.ts';
import { PluginError } from '../errors.ts';
import { connectOver } from './connected-plugin.ts';
import type { ConnectPluginOptions } from './connected-plugin.ts';
import { memoryTransports } from './transports.fixture.ts';

export const authAsk = {
  username: 'u',
  password: 'p',
  client: '1.2.3.4:5',
  service: 's',
  certificate: undefined,
};
const bypassAsk = { target: 'h:1', user: '', network: 'tcp', host: '', path: '', service: '' };
export const yes = { ok: true, user: 'a' };
export const call = (signal?: AbortSignal): Call => ({ meta: {}, signal });
export const refused = () => new PluginError('unreachable', 'refused', { unsent: true });
export const broken = () => new PluginError('unreachable', 'broke');
export const late = () => new PluginError('timeout', 'too late');

export const connectAuth = (options: Partial<ConnectPluginOptions> = {}) => {
  const memory = memoryTransports(auth, 'authenticate');
  const plugin = connectOver(memory.transports, auth, { addr: 'a:1', ...options });
  return {
    ...memory,
    memory,
    plugin,
    ask: (more = {}, one = call()) => ask(plugin.authenticate({ ...authAsk, ...more }, one)),
  };
};
export const connectBypass = (options: Partial<ConnectPluginOptions> = {}) => {
  const memory = memoryTransports(bypass, 'bypass');
  const plugin = connectOver(memory.transports, bypass, { addr: 'a:1', ...options });
  return {
    ...memory,
    memory,
    plugin,
    ask: (more = {}, one = call()) => ask(plugin.bypass({ ...bypassAsk, ...more }, one)),
  };
};
/** Always a promise, whose rejection is looked at later. */
export async function ask<T>(answer: T | Promise<T>): Promise<T> {
  return answer;
}
/** From here on time passes only when the test says so. */
export const stopClock = () => vi.useFakeTimers({ toFake: ['performance'] });
export const outcome = (answer: Promise<unknown>): Promise<string> =>
  answer.then(
    () => 'ok',
    (error: PluginError) => error.code,
  );
