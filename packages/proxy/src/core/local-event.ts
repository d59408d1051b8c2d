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
  call.observe?.({
    module,
    method,
    name: undefined,
    endpoint: 'the configuration',
    transport: 'local',
    session: call.session,
    outcome: 'ok',
    source: 'live',
    ms: 0,
    bytesSent: 0,
    bytesReceived: 0,
    reason,
    error: undefined,
  });
}
