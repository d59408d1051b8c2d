import { accessSync, constants } from 'node:fs';
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import type { Datagrams } from '../../core/datagrams.ts';
import { Cleanup } from '../../core/peer.fixture.ts';
import { parseIpPacket } from '../../wire/ip-packet.ts';
import { ipPacket } from '../../wire/packets.fixture.ts';
import { listenTun } from './listen.ts';
import { tunOptionsOf } from './options.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const isAllowed = (() => {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return process.getuid?.() === 0;
  } catch {
    // Not this system, or not this user; interop/netns has more of it.
    return false;
  }
})();

// RFC 2544's addresses, which nobody has; several runs of this test may be under way.
const name = `sally-${String(process.pid)}`;
const network = `198.18.${String(process.pid % 256)}`;
const options = tunOptionsOf({ name, net: [{ address: `${network}.1`, length: 24 }] });

/** A listener, and the ends that it accepts. */
async function scene() {
  const ends: Datagrams[] = [];
  let wake: () => void = () => undefined;
  const listening = await listenTun(
    (end) => {
      if (end.kind === 'datagrams') ends.push(end);
      wake();
    },
    (error) => {
      throw error;
    },
    options,
  );
  cleanup.add(listening, () => listening.close());
  let taken = 0;
  return {
    listening,
    ends,
    async next() {
      while (ends.length === taken) await new Promise<void>((resolve) => (wake = resolve));
      return ends[taken++]!;
    },
  };
}

describe.skipIf(!isAllowed)('a device of the system', () => {
  test('brings what the system sends, and takes what it is to be given', async () => {
    const { listening, next } = await scene();
    expect(listening.address.host).toBe(name);
    const end = await next();
    expect(end.remote).toEqual({ host: `${network}.1`, port: 0 });
    const socket = createSocket('udp4');
    cleanup.add(socket, () => socket.close());
    const answered = new Promise<string>((resolve) =>
      socket.on('message', (data) => resolve(data.toString())),
    );
    const came = new Promise<Buffer>((resolve) => {
      end.receive((data) => {
        if (parseIpPacket(data)?.destination === `${network}.2`) resolve(Buffer.from(data));
      });
    });
    socket.send('hello', 9, `${network}.2`);
    const packet = await came;
    expect(packet.subarray(28).toString()).toBe('hello');
    // Back to where it came from: addresses and ports the other way round; a checksum of UDP may be 0 (RFC 768).
    const back = Buffer.from(packet);
    packet.copy(back, 12, 16, 20);
    packet.copy(back, 16, 12, 16);
    packet.copy(back, 20, 22, 24);
    packet.copy(back, 22, 20, 22);
    back.writeUInt16BE(0, 26);
    expect(end.send(back)).toBe(true);
    expect(await answered).toBe('hello');
    // What is no packet it does not take.
    expect(end.send(Buffer.from('!'))).toBe(false);
    expect(end.send(Buffer.alloc(0))).toBe(false);
  });

  test('is gone when it is closed, and ends its end', async () => {
    const { listening, next } = await scene();
    const end = await next();
    expect(networkInterfaces()).toHaveProperty(name);
    await listening.close();
    await end.closed;
    expect(networkInterfaces()).not.toHaveProperty(name);
    expect(end.send(ipPacket(`${network}.2`, `${network}.1`))).toBe(false);
    await listening.close();
  });

  test('has one owner', async () => {
    await scene();
    await expect(scene()).rejects.toMatchObject({ code: 'addressInUse' });
  });

  test('goes to the next end when one has ended', async () => {
    const { next, ends } = await scene();
    (await next()).close();
    const again = await next();
    expect(ends).toHaveLength(2);
    expect(networkInterfaces()).toHaveProperty(name);
    again.close();
  });
});
