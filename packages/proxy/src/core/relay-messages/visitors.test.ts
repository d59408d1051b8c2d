import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Conn, End } from '../conn.ts';
import type { ProxyError } from '../errors.ts';
import { memoryConnPair } from '../memory-conn.fixture.ts';
import { createMuxSession } from '../mux/mux-session.ts';
import { readAll } from '../mux/mux-pair.fixture.ts';
import { smuxFrame } from '../mux/mux-raw.fixture.ts';
import { formatRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import { cut, hex, nearly } from '../../wire/splits.fixture.ts';
import { receiveVisitors } from './visitors.ts';
import type { VisitorsOptions } from './visitors.ts';

const address = { host: 'f1a93c0d5e6b7a81', port: 80 };
const addr = (host: string, port: number): RelayFeature => ({ type: 'addr', address: { host, port } });
const head = (...features: RelayFeature[]) => formatRelayResponse(relayStatus.ok, features);
const good = head(addr('203.0.113.7', 40_000), addr('web.test', 80));

/** A listener that a node holds for us, and the node. */
function scene(options: Partial<VisitorsOptions> = {}) {
  const [end, conn] = memoryConnPair();
  const accepted: End[] = [];
  const problems: ProxyError[] = [];
  const watchers = new Set<() => void>();
  const look = () => {
    for (const watcher of watchers) watcher();
  };
  const listening = receiveVisitors(conn, {
    network: 'tcp',
    address,
    settings: { version: 2 },
    accept(visitor) {
      accepted.push(visitor);
      look();
    },
    problem(error) {
      problems.push(error);
      look();
    },
    ...options,
  });
  const until = (done: () => boolean) =>
    new Promise<void>((resolve) => {
      const watch = () => {
        if (!done()) return;
        watchers.delete(watch);
        resolve();
      };
      watchers.add(watch);
      watch();
    });
  const node = () => createMuxSession(end, { role: 'client', side: 'client', settings: { version: 2 } });
  return { ...{ end, conn, accepted, problems, listening, until, node } };
}

/** A visitor that is taken shows that all is well. */
async function expectService({ accepted, until }: ReturnType<typeof scene>, stream: Conn): Promise<void> {
  const before = accepted.length;
  await stream.write(Buffer.concat([good, Buffer.from('well')]));
  await until(() => accepted.length > before);
  const conn = accepted.at(-1) as Conn;
  expect(String(await conn.read())).toBe('well');
  await conn.end();
  await stream.end();
  expect(String(await readAll(stream))).toBe('');
}

describe('the head of a visitor', () => {
  test('says who it is and what it wants, however it is cut', async () => {
    const place = scene();
    const mux = place.node();
    const said = Buffer.concat([good, Buffer.from('the first bytes')]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(said.length), { maxLength: 6 }), async (places) => {
        const before = place.accepted.length;
        const stream = mux.open();
        for (const piece of cut(said, places)) await stream.write(piece);
        await stream.end();
        await place.until(() => place.accepted.length > before);
        const conn = place.accepted.at(-1) as Conn;
        expect(conn).toMatchObject({
          local: address,
          remote: { host: '203.0.113.7', port: 40_000 },
          wanted: { host: 'web.test', port: 80 },
          tls: undefined,
        });
        expect(String(await readAll(conn))).toBe('the first bytes');
        conn.reset();
        await stream.closed;
      }),
      { numRuns: 100 },
    );
  });

  test.each([
    ['nothing that is wanted', head(addr('203.0.113.7', 7)), undefined],
    ['a port that nobody can want', head(addr('203.0.113.7', 7), addr('web.test', 0)), undefined],
    [
      'more than is known',
      head(addr('203.0.113.7', 7), { type: 'unknown', code: 77, data: hex('00') }),
      undefined,
    ],
    [
      'an address of IPv4 as one of IPv6',
      hex('01 00 0016 02 0013 04 00000000000000000000ffffcb007107 0007'),
      undefined,
    ],
  ])('may hold %s', async (_, bytes, wanted) => {
    const place = scene();
    await place.node().open().write(bytes);
    await place.until(() => place.accepted.length > 0);
    expect(place.accepted[0]).toMatchObject({ remote: { host: '203.0.113.7', port: 7 } });
    expect(place.accepted[0]!.wanted).toEqual(wanted);
  });

  test.each([
    ['a no', formatRelayResponse(3), 'says 3 instead of 0'],
    ['nobody', head(), 'from which IP address'],
    ['a name', head(addr('localhost', 7)), 'from which IP address'],
    ['an address in a zone', hex('01 00 000d 02 000a 03 06 66653a3a2531 0007'), ''],
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'no relay protocol'],
    ['a length that is a lie', hex('01 00 ffff'), 'more than 4096 bytes'],
    ['a feature that is a lie', hex('01 00 0004 02 ffff 01'), 'longer than what holds it'],
  ])('that says %s costs its own stream alone', async (_, bytes, words) => {
    const place = scene();
    const mux = place.node();
    const other = mux.open();
    const stream = mux.open();
    await stream.write(bytes);
    await stream.closed;
    await place.until(() => place.problems.length > 0);
    expect(place.problems).toMatchObject([{ code: 'badUpstreamReply', at: 'upstream' }]);
    expect(place.problems[0]!.message).toMatch(/^a visitor at 192\.0\.2\.1:40000 was not taken: /);
    expect(place.problems[0]!.message).toContain(words);
    await expectService(place, other);
  });

  test('may be anything: it is one, or costs its own stream alone', async () => {
    const place = scene();
    const mux = place.node();
    const samples = [good, head(addr('2001:db8::1', 1)), formatRelayResponse(5)];
    await fc.assert(
      fc.asyncProperty(nearly(samples), async (bytes) => {
        const before = place.accepted.length;
        const stream = mux.open();
        // It may have been reset by then.
        await stream.write(bytes).catch(() => undefined);
        await stream.end();
        const taken = place.until(() => place.accepted.length > before);
        await Promise.race([stream.closed, taken]);
        (place.accepted[before] as Conn | undefined)?.reset();
        await stream.closed;
      }),
      { numRuns: 300 },
    );
    for (const { code } of place.problems) expect(code).toBe('badUpstreamReply');
    await expectService(place, mux.open());
  });
});

describe('a node', () => {
  test('that opens a stream and says nothing, or not all, has a deadline for it', async () => {
    const place = scene({ headMs: 20 });
    const mux = place.node();
    const silent = mux.open();
    const slow = mux.open();
    await slow.write(good.subarray(0, 5));
    await Promise.all([silent.closed, slow.closed]);
    await place.until(() => place.problems.length === 2);
    for (const problem of place.problems) {
      expect(problem).toMatchObject({ code: 'upstreamTimeout', at: 'upstream' });
      expect(problem.message).toContain('did not say who it is within 0.02 s');
    }
    await expectService(place, mux.open());
  });

  test('that floods silent streams has as many as are allowed, and is cut', async () => {
    const place = scene({ settings: { version: 2, maxStreams: 50 } });
    const [, ...rest] = Array.from({ length: 1100 }, (_, index) => smuxFrame(2, 'syn', 2 * index + 1));
    await place.end.write(Buffer.concat(rest));
    expect(await place.listening.lost).toMatchObject({ code: 'badUpstreamReply', at: 'upstream' });
    expect(place.accepted).toEqual([]);
    expect(place.conn.isReset).toBe(true);
  });

  test('is not blamed for visitors that are turned away here, however many', async () => {
    const place = scene();
    const mux = place.node();
    for (let count = 0; count < 1500; count++) {
      const stream = mux.open();
      await stream.write(good);
      await place.until(() => place.accepted.length > count);
      (place.accepted[count] as Conn).reset();
      await stream.closed;
    }
    await expectService(place, mux.open());
  });

  test('whose visitor leaves before it is known is nobody`s problem', async () => {
    const place = scene();
    const mux = place.node();
    const stream = mux.open();
    await stream.write(good.subarray(0, 5));
    await stream.end();
    await stream.closed;
    await expectService(place, mux.open());
    expect(place.problems).toEqual([]);
  });

  test('whose visitor is cut harms no other', async () => {
    const place = scene();
    const mux = place.node();
    const [one, other] = [mux.open(), mux.open()];
    for (const stream of [one, other]) await stream.write(good);
    await place.until(() => place.accepted.length === 2);
    one.reset();
    await place.accepted[0]!.closed;
    await (place.accepted[1] as Conn).write(Buffer.from('still here'));
    expect(String(await other.read())).toBe('still here');
  });
});

describe('a listener that a node holds', () => {
  test('is lost when the node ends the connection, breaks it, or breaks the mux', async () => {
    const ends: [(place: ReturnType<typeof scene>) => unknown, string, string][] = [
      [({ end }) => end.end(), 'upstreamClosed', 'it ended the connection'],
      [({ end }) => end.reset(), 'upstreamClosed', 'closed'],
      [({ end }) => end.write(Buffer.from('HTTP/1.1 502')), 'badUpstreamReply', 'no smux'],
      [({ end }) => end.write(smuxFrame(2, 'syn', 2)), 'badUpstreamReply', 'not its to open'],
    ];
    for (const [breakIt, code, words] of ends) {
      const place = scene();
      await breakIt(place);
      const error = await place.listening.lost;
      expect(error).toMatchObject({ code, at: 'upstream', retryable: true });
      expect(error.message).toMatch(/^the node 192\.0\.2\.1:40000 does not listen for us any more: /);
      expect(error.message).toContain(words);
      await place.conn.closed;
    }
  });

  test('that is closed is not lost, serves on who is there, and then goes', async () => {
    const place = scene();
    const mux = place.node();
    const stream = mux.open();
    await stream.write(good);
    await place.until(() => place.accepted.length === 1);
    let isLost = false;
    void place.listening.lost.then(() => (isLost = true));
    await place.listening.close();
    const conn = place.accepted[0] as Conn;
    await conn.write(Buffer.from('to the end'));
    expect(String(await stream.read())).toBe('to the end');
    // Who had been sent before the node knew is taken.
    expect(mux.isOpen).toBe(false);
    await stream.end();
    await conn.end();
    await place.conn.closed;
    expect(isLost).toBe(false);
  });

  test('that was never used goes at once', async () => {
    const { listening, conn } = scene();
    await listening.close();
    await conn.closed;
    const used = scene();
    const mux = used.node();
    await expectService(used, mux.open());
    await used.listening.close();
    await used.conn.closed;
  });
});
