import { parentPort, workerData } from 'node:worker_threads';
import { joinMeter } from './meter.ts';
import type { SlotId } from './meter.ts';

// A thread that takes 20,000 bytes from the bucket it is told of, and meanwhile makes and frees counters of its own.
const { block, id } = workerData as { readonly block: SharedArrayBuffer; readonly id: SlotId };
const meter = joinMeter(block);
const bucket = meter.openBucket(id);
for (let i = 0; i < 20_000; i++) {
  bucket.take(1, 0);
  const mine = [meter.counter(), meter.counter()];
  for (const counter of mine) counter.add(i);
  for (const counter of mine) if (counter.value !== i) throw new Error('somebody else counts here');
  for (const counter of mine) counter.free();
}
parentPort?.postMessage('done');
