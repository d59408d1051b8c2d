import { expect, test } from 'vitest';
import { parseSmuxHead, parseSmuxUpdate } from '../../wire/smux.ts';
import { WireReader } from '../../wire/wire-reader.ts';
import type { Conn } from '../conn.ts';
import { rawPeer, smuxFrame } from './mux-raw.fixture.ts';
import type { MuxSettings } from './settings.ts';

const frameBytes = 32_768;

/** A session of version 2 whose peer sends whole frames and sees only the windows that it is given. */
async function windows(settings: MuxSettings = {}) {
  const { session, raw, next } = rawPeer({ keepAliveMs: 0, ...settings, version: 2 });
  const heads = new WireReader((bytes) => parseSmuxHead(bytes, 2, 'upstream'));
  const updates = new WireReader(parseSmuxUpdate);
  return {
    async open(stream: number): Promise<Conn> {
      await raw.write(smuxFrame(2, 'syn', stream));
      return next();
    },
    send: (stream: number) => raw.write(smuxFrame(2, 'psh', stream, Buffer.alloc(frameBytes))),
    async window(): Promise<number> {
      for (let bytes = await raw.read(); bytes !== null; bytes = await raw.read()) {
        const head = heads.push(bytes);
        if (head === undefined) continue;
        expect(head.command).toBe('upd');
        const update = updates.push(heads.rest)!;
        raw.unread(updates.rest);
        return update.window;
      }
      throw new Error('the session ended');
    },
    close: () => session.reset(),
  };
}

async function readFrame(conn: Conn): Promise<void> {
  for (let left = frameBytes; left > 0;) left -= (await conn.read())!.length;
}

test('a stream that is read has what every peer may assume at first under way; while much is held, GOST’s window', async () => {
  const peer = await windows();
  const quick = await peer.open(3);
  await peer.send(3);
  await readFrame(quick);
  expect(await peer.window()).toBe(262_144);
  // A quarter of 4 MiB, in streams that nobody reads.
  for (let stream = 5; stream < 5 + 2 * 4; stream += 2) {
    await peer.open(stream);
    for (let frame = 0; frame < 8; frame++) await peer.send(stream);
  }
  // Half of the window is read before there is a next one.
  for (let frame = 0; frame < 4; frame++) await peer.send(3);
  for (let frame = 0; frame < 4; frame++) await readFrame(quick);
  expect(await peer.window()).toBe(65_536);
  await peer.send(3);
  await readFrame(quick);
  expect(await peer.window()).toBe(65_536);
  peer.close();
});

test('what the file says is the window, however little is held', async () => {
  const peer = await windows({ maxStreamBytes: 100_000 });
  const stream = await peer.open(3);
  await peer.send(3);
  await readFrame(stream);
  expect(await peer.window()).toBe(100_000);
  peer.close();
});
