// The load that every Node client puts on a server, and the figures that it prints: the twin of go/client/main.go.
import { parseArgs } from 'node:util';

/** What the runner says to a client. */
export function options() {
  const { values } = parseArgs({
    options: {
      transport: { type: 'string', default: 'grpc' },
      port: { type: 'string' },
      concurrency: { type: 'string', default: '1' },
      warmup: { type: 'string', default: '500ms' },
      duration: { type: 'string', default: '2s' },
    },
  });
  return { ...values, port: Number(values.port), concurrency: Number(values.concurrency) };
}

function milliseconds(text) {
  const [, number, unit] = /^([\d.]+)(ms|s)$/.exec(text);
  return Number(number) * (unit === 's' ? 1000 : 1);
}

/** Keeps `concurrency` calls in flight for `warmup` and then `duration`, and prints one line of JSON for the latter. */
export async function load(call, { concurrency, warmup, duration }) {
  let counting = false;
  let stop = false;
  let failures = 0;
  const samples = [];
  const workers = Array.from({ length: concurrency }, async () => {
    while (!stop) {
      const start = process.hrtime.bigint();
      try {
        await call();
      } catch {
        failures++;
      }
      if (counting) samples.push(Number(process.hrtime.bigint() - start) / 1e6);
    }
  });
  const pass = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  await pass(milliseconds(warmup));
  counting = true;
  const from = performance.now();
  const used = process.cpuUsage();
  await pass(milliseconds(duration));
  counting = false;
  const seconds = (performance.now() - from) / 1000;
  const { user, system } = process.cpuUsage(used);
  stop = true;
  await Promise.all(workers);
  const sorted = Float64Array.from(samples).sort();
  const at = (quantile) => sorted[Math.floor((sorted.length - 1) * quantile)];
  console.log(
    JSON.stringify({
      calls: sorted.length,
      failures,
      callsPerSecond: sorted.length / seconds,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      cpuMicrosPerCall: (user + system) / sorted.length,
    }),
  );
}
