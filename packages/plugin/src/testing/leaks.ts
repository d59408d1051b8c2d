import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';

/** What of `process.getActiveResourcesInfo()` a client may leave. Timers are looked at more closely. */
const watched: ReadonlySet<string> = new Set([
  'TCPSocketWrap',
  'TCPServerWrap',
  'TCPConnectWrap',
  'PipeWrap',
  'PipeConnectWrap',
  'TLSWrap',
  'GetAddrInfoReqWrap',
]);

/**
 * Runs something and sees to it that it leaves no socket and no timer of this process: rejects as it does, and also where
 * there are, `patienceMs` after its end, more sockets than before or a timer that it set. Nothing else may run meanwhile. A
 * timer that does not keep the process alive is nobody's leak: it is left out.
 */
export async function leavingNothing(patienceMs: number, run: () => Promise<void>): Promise<void> {
  const before = openNow();
  const timers = new Map<number, NodeJS.Timeout>();
  const hook = createHook({
    init: (id, type, _trigger, resource) => {
      if (type === 'Timeout') timers.set(id, resource as NodeJS.Timeout);
    },
    destroy: (id) => void timers.delete(id),
  });
  const leaks = (): string[] => {
    const found = [...openNow()]
      .filter(([kind, count]) => count > (before.get(kind) ?? 0))
      .map(([kind, count]) => `${kind}: ${count}, ${before.get(kind) ?? 0} before`);
    const ticking = [...timers.values()].filter((timer) => timer.hasRef()).length;
    return ticking === 0 ? found : [...found, `timers: ${ticking}`];
  };
  hook.enable();
  try {
    await run();
    const until = performance.now() + patienceMs;
    while (leaks().length > 0) {
      if (performance.now() > until) assert.fail(`something was left open (${leaks().join('; ')})`);
      await turn();
    }
  } finally {
    hook.disable();
  }
}

function openNow(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (watched.has(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}
