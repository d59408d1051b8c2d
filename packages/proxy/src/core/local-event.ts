import { performance } from 'node:perf_hooks';
import type { Call, CallEvent, ModuleKind } from '@sallyport/plugin';

/**
 * Tells whoever observes a question that it was answered by a built-in, from what stands in the configuration. `reason` is
 * one short sentence for the log that names the rule that decided; undefined where no rule spoke.
 */
export function tellLocal(
  call: Call,
  module: ModuleKind,
  method: CallEvent['method'],
  reason: string | undefined,
): void {
  call.observe?.(localEvent(call, module, method, { endpoint: 'the configuration', reason }));
}

/**
 * The same for a built-in that asks somebody itself: what is answered is called with what became of the question, and counts how
 * long it has taken since now.
 */
export function timeLocal(
  call: Call,
  module: ModuleKind,
  method: CallEvent['method'],
): (facts: Partial<CallEvent>) => void {
  const start = performance.now();
  return (facts) => {
    call.observe?.(localEvent(call, module, method, { ms: performance.now() - start, ...facts }));
  };
}

function localEvent(
  call: Call,
  module: ModuleKind,
  method: CallEvent['method'],
  facts: Partial<CallEvent>,
): CallEvent {
  return {
    module,
    method,
    name: undefined,
    endpoint: '',
    transport: 'local',
    session: call.session,
    outcome: 'ok',
    source: 'live',
    ms: 0,
    bytesSent: 0,
    bytesReceived: 0,
    reason: undefined,
    error: undefined,
    ...facts,
  };
}
