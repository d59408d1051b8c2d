import { afterEach, describe, expect, test } from 'vitest';
import type { Address, Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { Handler } from '../../core/protocol.ts';
import { startService } from '../../core/service.ts';
import type { Context, Way } from '../../core/way.ts';
import { tcp } from '../tcp/index.ts';
import { createMux } from './index.ts';

const mux = createMux({ version: 1 });
const base = tcp.wrap(undefined, { metadata: {} });
const at = { host: '127.0.0.1', port: 0 };
const context = (signal = new AbortController().signal): Context => ({ signal });

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A listener, the connections that it carries, and those beneath. */
async function listen(metadata: Record<string, unknown> = {}, each?: (stream: Conn) => unknown) {
  const carriers: Conn[] = [];
  const problems: ProxyError[] = [];
  const waiting: ((error: ProxyError) => void)[] = [];
  const counted: Way = {
    ...base,
    listen: (address, accept, problem) =>
      base.listen!(
        address,
        (end) => {
          carriers.push(end as Conn);
          closing.push(() => (end as Conn).reset());
          accept(end);
        },
        problem,
      ),
  };
  const listening = await mux.wrap(counted, { metadata }).listen!(
    at,
    (end) => void (each ?? echo)(end as Conn),
    (error) => {
      problems.push(error);
      waiting.shift()?.(error);
    },
  );
  closing.push(() => listening.close());
  const problem = () => new Promise<ProxyError>((resolve) => waiting.push(resolve));
  return { listening, carriers, problems, problem };
}

async function echo(stream: Conn): Promise<void> {
  try {
    for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read())
      await stream.write(bytes);
    await stream.end();
  } catch {
    stream.reset();
  }
}

function dialer(metadata: Record<string, unknown> = {}, under: Way = base): Way {
  const way = mux.wrap(under, { metadata });
  closing.push(() => way.close());
  return way;
}

/** A way whose dials are held until the test lets them go. */
function heldWay() {
  const signals: AbortSignal[] = [];
  const held: (() => void)[] = [];
  const way: Way = {
    ...base,
    dial: (to, { signal }) => {
      signals.push(signal);
      return new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new ProxyError('clientClosed', 'client', 'given up')));
        held.push(() => base.dial(to, { signal }).then(resolve, reject));
      });
    },
  };
  return { way, signals, release: () => held.splice(0).forEach((go) => go()) };
}

async function says(conn: Conn, text: string): Promise<string> {
  await conn.write(Buffer.from(text));
  return String(await conn.read());
}

describe('a mux dialer', () => {
  test('has one session for an address, however many dial it at once, and dials again when it has closed', async () => {
    const { listening, carriers } = await listen();
    const way = dialer();
    const all = await Promise.all(Array.from({ length: 20 }, () => way.dial(listening.address, context())));
    const answers = await Promise.all(all.map((conn, index) => says(conn, String(index))));
    expect(answers).toEqual(all.map((_, index) => String(index)));
    expect(carriers).toHaveLength(1);
    carriers[0]!.reset();
    await Promise.all(all.map(({ closed }) => closed));
    const again = await way.dial(listening.address, context());
    expect(await says(again, 'again')).toBe('again');
    expect(carriers).toHaveLength(2);
  });

  test('has a session for each address', async () => {
    const [one, other] = [await listen(), await listen()];
    const way = dialer();
    for (const { listening } of [one, other, one, other])
      expect(await says(await way.dial(listening.address, context()), 'x')).toBe('x');
    expect([one.carriers.length, other.carriers.length]).toEqual([1, 1]);
  });

  test('tells everybody of a dial that failed, and forgets it', async () => {
    const { way: under, signals, release } = heldWay();
    const way = dialer({}, under);
    const nowhere: Address = { host: '127.0.0.1', port: 1 };
    const dials = [1, 2, 3].map(() => way.dial(nowhere, context()).catch((error: unknown) => error));
    release();
    for (const error of await Promise.all(dials)) expect(error).toMatchObject({ code: 'dialFailed' });
    expect(signals).toHaveLength(1);
    const again = way.dial(nowhere, context()).catch((error: unknown) => error);
    release();
    expect(await again).toMatchObject({ code: 'dialFailed' });
    expect(signals).toHaveLength(2);
  });

  test('goes on dialling for those who stay, and gives up when the last one has left', async () => {
    const { listening } = await listen();
    const { way: under, signals, release } = heldWay();
    const way = dialer({}, under);
    const leaver = new AbortController();
    const leaving = way.dial(listening.address, context(leaver.signal)).catch((error: unknown) => error);
    const staying = way.dial(listening.address, context());
    leaver.abort('deadline');
    expect(await leaving).toMatchObject({ code: 'clientClosed', at: 'client' });
    expect(signals[0]!.aborted).toBe(false);
    release();
    expect(await says(await staying, 'there')).toBe('there');

    const other = await listen();
    const last = new AbortController();
    const alone = way.dial(other.listening.address, context(last.signal)).catch((error: unknown) => error);
    last.abort('deadline');
    expect(await alone).toMatchObject({ code: 'clientClosed' });
    expect(signals[1]!.aborted).toBe(true);
    // What somebody tells of why it ended is passed on.
    expect(signals[1]!.reason).toBe('deadline');
    const anew = way.dial(other.listening.address, context());
    release();
    expect(await says(await anew, 'anew')).toBe('anew');
  });

  test('says whose fault it is where the two ends are not of one version', async () => {
    const { listening, problem } = await listen({ muxVersion: 1 });
    const told = problem();
    const conn = await dialer({ muxVersion: 2 }).dial(listening.address, context());
    await expect(conn.read()).rejects.toMatchObject({ code: 'upstreamClosed', at: 'upstream' });
    const error = await told;
    expect(error).toMatchObject({ code: 'malformedRequest', at: 'client' });
    expect(error.message).toContain('smux of version 1');
  });

  test('closes what carries nothing when it is closed, and lets the rest end', async () => {
    const { listening, carriers } = await listen();
    const way = dialer();
    const conn = await way.dial(listening.address, context());
    expect(await says(conn, 'one')).toBe('one');
    await way.close();
    expect(await says(conn, 'two')).toBe('two');
    await conn.end();
    expect(await conn.read()).toBeNull();
    await carriers[0]!.closed;
  });
});

describe('a mux listener', () => {
  test('cuts who says nothing in time, and says so', async () => {
    const { listening, problem } = await listen({ handshakeTimeoutMs: 50 });
    const told = problem();
    const conn = await base.dial(listening.address, context());
    closing.push(() => conn.reset());
    expect(await told).toMatchObject({ code: 'handshakeTimeout', at: 'client' });
    await expect(conn.read()).rejects.toMatchObject({ code: 'upstreamClosed' });
  });

  test('turns away who is one too many of those who have said nothing', async () => {
    const { listening, carriers, problem } = await listen({ backlog: 1 });
    const told = problem();
    const silent = await base.dial(listening.address, context());
    closing.push(() => silent.reset());
    // It may be cut before it knows that it was connected.
    const other = await base.dial(listening.address, context()).catch(() => undefined);
    closing.push(() => other?.reset());
    expect(await told).toMatchObject({ code: 'tooManyRequests', at: 'client' });
    expect(carriers).toHaveLength(2);
    silent.reset();
    await carriers[0]!.closed;
    expect(await says(await dialer().dial(listening.address, context()), 'next')).toBe('next');
  });

  test('serves a stranger who cannot be asked to leave until its last stream has ended', async () => {
    const { listening, carriers } = await listen();
    const raw = await base.dial(listening.address, context());
    closing.push(() => raw.reset());
    const frame = (command: number, id: number, text = '') =>
      Buffer.concat([Buffer.from([1, command, text.length, 0, id, 0, 0, 0]), Buffer.from(text)]);
    const answer = async (length: number) => {
      const parts: Buffer[] = [];
      while (Buffer.concat(parts).length < length) parts.push((await raw.read())!);
      return Buffer.concat(parts);
    };
    await raw.write(Buffer.concat([frame(0, 3), frame(2, 3, 'one')]));
    expect(await answer(11)).toEqual(frame(2, 3, 'one'));
    await listening.close();
    await raw.write(Buffer.concat([frame(0, 5), frame(2, 5, 'two')]));
    expect(await answer(11)).toEqual(frame(2, 5, 'two'));
    await raw.write(Buffer.concat([frame(1, 3), frame(1, 5)]));
    for (let bytes = await raw.read(); bytes !== null; bytes = await raw.read());
    await raw.end();
    await carriers[0]!.closed;
  });
});

test('a connection that carries several is admitted once, and each of them is a session', async () => {
  const asked: string[] = [];
  const ended: string[] = [];
  const told: (() => void)[] = [];
  const handle = async (end: End) => {
    await echo(end as Conn);
  };
  const service = await startService({
    ...{ service: 's', address: at, base, direct: base, handler: { metadata: {}, serves: 'stream', handle } },
    ...{ layers: (under: Way) => mux.wrap(under, { metadata: {} }), options: { metadata: {} } },
    ...{ retries: 0, dialTimeoutMs: 15_000, idleMs: 0, serve: () => Promise.resolve() },
    admission: {
      admit: ({ client }: { client: string }) => {
        asked.push(client);
        return Promise.resolve(true);
      },
    } as never,
    publish({ id }, { kind }) {
      if (kind !== 'closed') return;
      ended.push(id);
      told.shift()?.();
    },
    problem(error) {
      throw error;
    },
  } satisfies Parameters<typeof startService>[0] & { handler: Handler });
  closing.push(() => service.close());
  const way = dialer();
  const conns = await Promise.all([1, 2, 3].map(() => way.dial(service.address, context())));
  for (const conn of conns) expect(await says(conn, 'x')).toBe('x');
  expect(asked).toHaveLength(1);
  expect(service.open).toBe(3);
  const first = new Promise<void>((resolve) => told.push(resolve));
  conns[1]!.reset();
  await first;
  expect(service.open).toBe(2);
  const stopping = service.stop();
  for (const conn of [conns[0]!, conns[2]!]) {
    expect(await says(conn, 'still')).toBe('still');
    await conn.end();
  }
  await stopping;
  expect(new Set(ended).size).toBe(3);
});
