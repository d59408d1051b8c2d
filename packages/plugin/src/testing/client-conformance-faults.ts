import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import type { ClientUnderTest } from './client-conformance.ts';
import type { ConformanceCase } from './conformance-case.ts';
import { expectFailure } from './expect-failure.ts';
import type { Fault, FaultServer } from './fault.ts';
import { faultsOf } from './faults.ts';
import { typicalSample } from './samples.ts';

/** What a clock may be off. */
const earlyMs = 20;

/** What a client must make of each fault. */
export function faultCases(client: ClientUnderTest): readonly ConformanceCase[] {
  const all = faultsOf(client.contract, client.transport);
  const hangs = all.filter((fault) => fault.hangs);
  return [
    ...all
      .filter((fault) => !fault.hangs)
      .map((fault) => ({ name: fault.name, run: () => checkAll(client, [fault]) })),
    // Together, because each of them takes its time.
    {
      name: `ends at the deadline: ${hangs.map(({ name }) => name).join('; ')}`,
      run: () => checkAll(client, hangs),
    },
  ];
}

/** Meets all of these faults at once. */
async function checkAll(client: ClientUnderTest, faults: readonly Fault[]): Promise<void> {
  const settled = await Promise.allSettled(faults.map((fault) => checkFault(client, fault)));
  const errors = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason as Error] : []));
  if (errors.length === 1) throw errors[0]!;
  if (errors.length > 1) throw new AggregateError(errors, errors.map(({ message }) => message).join('\n'));
}

async function checkFault(client: ClientUnderTest, fault: Fault): Promise<void> {
  const server = await fault.start();
  try {
    await Promise.all(fault.methods.map((method) => checkMethod(client, fault, server, method)));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`${fault.name}: ${message}`, { cause: error });
  } finally {
    await server.close();
  }
}

/** One call by a client of its own. */
async function checkMethod(
  client: ClientUnderTest,
  fault: Fault,
  server: FaultServer,
  method: string,
): Promise<void> {
  const { transport, patienceMs } = client;
  const { addr, tls, token } = server;
  const timeoutMs = fault.hangs ? client.shortMs : client.timeoutMs;
  const policy = client.connect({ transport, addr, token, tls, timeoutMs });
  const { signal } = new AbortController();
  try {
    const { ask } = typicalSample(client.contract, method);
    const start = performance.now();
    const call = Promise.resolve(policy[method]!(ask, { meta: {}, signal }));
    const latestMs = timeoutMs + patienceMs;
    await within(latestMs, expectFailure(call, fault.expected), `it did not end within ${latestMs} ms`);
    const ms = performance.now() - start;
    if (fault.hangs) {
      assert.ok(ms >= timeoutMs - earlyMs, `it ended after ${ms} ms, before its deadline of ${timeoutMs} ms`);
    } else {
      assert.ok(ms < timeoutMs / 2, `it ended after ${ms} ms, and not by itself`);
    }
    assert.equal(getEventListeners(signal, 'abort').length, 0, 'a listener was left at the signal');
  } finally {
    // A server that reads lets go sooner, and the end is the same.
    const closed = policy.close();
    await within(
      patienceMs,
      server.vacant(),
      'the client is being closed, and a connection of it stays open',
    );
    await within(patienceMs, closed, 'all connections are closed, and the client does not come to an end');
  }
}

/** Fails where something takes longer. */
async function within(ms: number, what: Promise<unknown>, otherwise: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(otherwise)), ms);
  });
  try {
    await Promise.race([what, late]);
  } finally {
    clearTimeout(timer);
  }
}
