import { parseIp } from './ip.ts';

/** An IP packet of no protocol that anybody knows, with this text behind its head. */
export function ipPacket(source: string, destination: string, text = ''): Buffer {
  const [from, to] = [parseIp(source)!, parseIp(destination)!];
  const data = Buffer.from(text);
  if (from.length === 4) {
    const head = Buffer.alloc(20);
    head[0] = 0x45;
    head.writeUInt16BE(20 + data.length, 2);
    head[8] = 64;
    head[9] = 253;
    from.copy(head, 12);
    to.copy(head, 16);
    return Buffer.concat([head, data]);
  }
  const head = Buffer.alloc(40);
  head[0] = 0x60;
  head.writeUInt16BE(data.length, 4);
  head[6] = 253;
  head[7] = 64;
  from.copy(head, 8);
  to.copy(head, 24);
  return Buffer.concat([head, data]);
}
