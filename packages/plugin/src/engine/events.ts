import { channel } from 'node:diagnostics_channel';
import type { Call, CallEvent } from '../contract.ts';

/** The diagnostics channel on which one {@link CallEvent} is published for every question that is put to a plugin. */
export const callChannel = 'sallyport:plugin:call';

const calls = channel(callChannel);

/** Whether anybody wants to know what becomes of this question. If not, no event is made. */
export function isObserved(call: Call): boolean {
  return calls.hasSubscribers || call.observe !== undefined;
}

/** Tells all who listen. A listener that throws ends as an uncaught exception, as on any diagnostics channel, not in the call. */
export function publish(event: CallEvent, call: Call): void {
  if (calls.hasSubscribers) calls.publish(event);
  if (call.observe === undefined) return;
  try {
    call.observe(event);
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
