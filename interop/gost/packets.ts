// A site of a private network, as the router protocol has it: frames, and no device.
import type net from 'node:net';
import { dial, readExactly } from './traffic.ts';

/** Joins a network at a router, and answers its status and the connection, which is the caller's. */
export async function joinNetwork(
  address: string,
  site: string,
  router: string,
): Promise<{ status: number; socket: net.Socket }> {
  const socket = await dial(address);
  socket.write(associate(site, router));
  const head = await readExactly(socket, 4);
  const length = head.readUInt16BE(2);
  if (length > 0) await readExactly(socket, length);
  return { status: head[1]!, socket };
}

/** A relay request (version 1) to join a private network: our address, the site's name, the network's id, the kind `ip`. */
function associate(site: string, router: string): Buffer {
  const feature = (type: number, ...data: readonly (Buffer | readonly number[])[]) => {
    const body = Buffer.concat(data.map((one) => Buffer.from(one)));
    return Buffer.concat([Buffer.from([type, body.length >> 8, body.length & 255]), body]);
  };
  const features = Buffer.concat([
    feature(2, [1, 0, 0, 0, 0, 0, 0]),
    feature(2, [3, site.length], Buffer.from(site), [0, 0]),
    feature(3, Buffer.from(router.replaceAll('-', ''), 'hex'), [0, 0, 0, 0]),
    feature(4, [0, 2]),
  ]);
  return Buffer.concat([Buffer.from([1, 3, features.length >> 8, features.length & 255]), features]);
}

/** An IPv4 packet of a header, as far as a router looks at it, and what is given. */
export function packetTo(address: string, more = Buffer.alloc(0)): Buffer {
  const packet = Buffer.concat([Buffer.alloc(20), more]);
  packet.set([0x45, 0, packet.length >> 8, packet.length & 255, 0, 0, 0, 0, 64, 17]);
  packet.set([10, 1, 0, 1], 12);
  packet.set(address.split('.').map(Number), 16);
  return packet;
}

/** The packet as it stands in a site's connection. */
export function framed(packet: Buffer): Buffer {
  return Buffer.concat([Buffer.from([packet.length >> 8, packet.length & 255]), packet]);
}
