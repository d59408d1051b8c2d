// Loaded into the proxy before it starts: on SIGUSR2 everything that can be collected is, and descriptor 3 is told what is left.
import { writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

process.on('SIGUSR2', async () => {
  // What finalizers let go of in one turn is garbage in the next.
  for (let i = 0; i < 4; i++) {
    globalThis.gc();
    await setImmediate();
  }
  writeSync(3, `${JSON.stringify(process.memoryUsage())}\n`);
});
