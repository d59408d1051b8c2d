import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Conn } from '../../core/conn.ts';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import { settled } from '../../core/manual-clock.fixture.ts';
import { formatRelayDatagram } from '../../wire/relay.ts';
import { createSitePackets } from './site-packets.ts';

const gateway = { host: 'site-a', port: 0 };

/** Packets over a connection, and its other end. Each write is seen as one. */
function scene(options?: Parameters<typeof memoryConnPair>[0]) {
  const [conn, there] = memoryConnPair({ sides: ['upstream', 'client'], ...options });
  const writes: number[] = [];
  const write = conn.write.bind(conn);
  conn.write = (bytes) => {
    writes.push(bytes.length);
    return write(bytes);
  };
  return { packets: createSitePackets(conn, gateway), conn, there, writes };
}

async function all(conn: Conn): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) pieces.push(bytes);
  return Buffer.concat(pieces);
}

describe('what is sent', () => {
  test('is framed, in order, whatever its length', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3000), { maxLength: 40 }), async (lengths) => {
        const { packets, there } = scene({ maxBufferedBytes: 1 << 20 });
        const sent = lengths.map((length, index) => Buffer.alloc(length, index));
        const whole = all(there);
        for (const packet of sent) expect(packets.send(packet)).toBe(true);
        packets.close();
        await there.end();
        expect((await whole).equals(Buffer.concat(sent.map(formatRelayDatagram)))).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test('in one turn goes out together, and its memory may be used again at once', async () => {
    const { packets, there, writes } = scene();
    const memory = Buffer.from('one');
    packets.send(memory);
    memory.write('two');
    packets.send(memory);
    await settled();
    packets.send(Buffer.from('three'));
    await settled();
    expect(writes).toEqual([10, 7]);
    expect(Buffer.concat([(await there.read())!, (await there.read())!]).toString()).toBe(
      '\0\x03one\0\x03two\0\x05three',
    );
  });

  test('and is not read in time is dropped', async () => {
    const { packets, there } = scene();
    const packet = Buffer.alloc(10_000);
    let sent = 0;
    while (packets.send(packet)) {
      sent++;
      if (sent % 10 === 0) await settled();
    }
    expect(sent * packet.length).toBeGreaterThan(400_000);
    expect(sent).toBeLessThan(65);
    expect(packets.send(Buffer.alloc(1))).toBe(true);
    // Once it has been read there is room again.
    for (let read = 0; read < sent * 10_002;) read += (await there.read())!.length;
    await settled();
    expect(packets.send(packet)).toBe(true);
  });

  test('and is longer than a frame can be is dropped', () => {
    const { packets } = scene();
    expect(packets.send(Buffer.alloc(65_536))).toBe(false);
    expect(packets.send(Buffer.alloc(65_535))).toBe(true);
  });
});

describe('what comes', () => {
  test('is given packet by packet, as the gateway’s, however it is split', async () => {
    const { packets, there } = scene();
    const received: string[] = [];
    packets.receive((data, peer) => {
      expect(peer).toBe(gateway);
      received.push(data.toString());
    });
    const bytes = Buffer.concat(['one', '', 'three'].map((text) => formatRelayDatagram(Buffer.from(text))));
    for (const byte of bytes) {
      await there.write(Buffer.from([byte]));
      await settled();
    }
    expect(received).toEqual(['one', '', 'three']);
  });

  test('to its end closes them', async () => {
    const { packets, there } = scene();
    packets.receive(() => undefined);
    await there.end();
    await packets.closed;
    expect(packets.send(Buffer.from('late'))).toBe(false);
    await there.closed;
  });

  test('no more, because the connection broke, closes them', async () => {
    const { packets, there } = scene();
    packets.receive(() => undefined);
    there.reset();
    await packets.closed;
    packets.close();
  });
});

test('closing ends the connection, also while nobody receives', async () => {
  const { packets, there } = scene();
  packets.send(Buffer.from('last'));
  packets.close();
  expect((await all(there)).toString()).toBe('\0\x04last');
  await there.end();
  await there.closed;
});
