import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Conn } from '../conn.ts';
import { muxKinds, muxPair } from './mux-pair.fixture.ts';

/** What happens on one stream: who opens it, and what each end writes before it ends its direction. */
interface Plan {
  readonly opener: 'client' | 'server';
  readonly up: readonly number[];
  readonly down: readonly number[];
  /** Reads that are put back in part. */
  readonly putsBack: boolean;
}

const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 120_000 })), {
  maxLength: 5,
});
const plan: fc.Arbitrary<Plan> = fc.record({
  opener: fc.constantFrom('client' as const, 'server' as const),
  up: sizes,
  down: sizes,
  putsBack: fc.boolean(),
});

/** Bytes that say of which stream, which direction and which place they are. */
function bytesOf(stream: number, direction: number, total: number): Buffer {
  const bytes = Buffer.alloc(total);
  for (let at = 0; at < total; at++) bytes[at] = (stream * 31 + direction * 101 + at * 7 + (at >> 8)) & 255;
  return bytes;
}

async function send(conn: Conn, bytes: Buffer, lengths: readonly number[]): Promise<void> {
  let from = 0;
  for (const length of lengths) {
    await conn.write(bytes.subarray(from, from + length));
    from += length;
  }
  await conn.end();
}

async function receive(conn: Conn, putsBack: boolean): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    const half = putsBack ? Math.ceil(bytes.length / 2) : bytes.length;
    conn.unread(bytes.subarray(half));
    parts.push(bytes.subarray(0, half));
  }
  return Buffer.concat(parts);
}

const sum = (lengths: readonly number[]) => lengths.reduce((all, length) => all + length, 0);

describe.each(muxKinds)('two sessions of %s', (_, settings) => {
  test('carry the bytes of every stream unchanged, however they are split and mixed', async () => {
    const small = { maxFrameBytes: 1000, maxReceiveBytes: 100_000, maxStreamBytes: 4096 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(plan, { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 20 }),
        fc.boolean(),
        async (plans, cuts, isSmall) => {
          let cut = 0;
          // Every place of a frame is cut somewhere; millions of single bytes would only take long.
          const next = () => (cut < 500 ? cuts[cut++ % cuts.length]! : 65_536);
          const ends = muxPair({ ...settings, ...(isSmall && small) }, next);
          const run = async ({ up, down, putsBack, opener }: Plan, id: number) => {
            const peer = opener === 'client' ? ends.server : ends.client;
            const opened = ends[opener].session.open();
            const accepted = await peer.next();
            const sent = [bytesOf(id, 0, sum(up)), bytesOf(id, 1, sum(down))] as const;
            const [, , there, back] = await Promise.all([
              send(opened, sent[0], up),
              send(accepted, sent[1], down),
              receive(accepted, putsBack),
              receive(opened, putsBack),
            ]);
            expect(there.equals(sent[0])).toBe(true);
            expect(back.equals(sent[1])).toBe(true);
            await Promise.all([opened.closed, accepted.closed]);
          };
          await Promise.all(plans.map(run));
          for (const { session } of [ends.client, ends.server]) expect(session.streams).toBe(0);
          ends.client.session.drain();
          expect(await Promise.all([ends.client.session.closed, ends.server.session.closed])).toEqual([
            undefined,
            undefined,
          ]);
        },
      ),
      { numRuns: 200 },
    );
  }, 60_000);
});
