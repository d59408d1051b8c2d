import type { End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { isIpPacket } from '../../wire/ip-packet.ts';
import { threadWheel } from '../../core/wheel.ts';
import { formatRelayResponse, parseRelayRequest, relayCommands, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import type { Networks } from './networks.ts';
import { canonicalGateway } from './request.ts';

/** Silence after which another node is asked about again at admission. GOST's nodes are never asked about. */
export const nodeTtlMs = 60_000;

/** A node is told at most so often that a gateway is not here; whoever only seems to be one gets no more than it sends. */
const minTellMs = 100;

/** What stands before a packet, and what it says. */
interface Head {
  readonly bytes: Buffer;
  readonly router: string;
  readonly gateway: string;
  /** What a node is told that sends packets to a gateway which has not joined here. GOST's do not hear it. */
  readonly absence: Buffer;
}

/**
 * Serves one other node: each datagram is a request of the relay protocol, ASSOCIATE with a router and a gateway, and the
 * packet. It goes to that gateway where it has joined here, and nowhere else: a packet is never sent on, so that none runs in a
 * circle; the node is told. Whatever else comes is dropped. Ends with the node's silence.
 */
export async function serveNode(end: End, networks: Networks): Promise<void> {
  if (end.kind !== 'datagrams')
    throw new ProxyError('unsupported', 'self', 'packets of other nodes come in datagrams');
  // A node sends many packets to one gateway, so that the head is nearly always that of the packet before.
  let last: Head | undefined;
  let toldMs = 0;
  end.receive((data) => {
    if (last === undefined || !begins(data, last.bytes)) last = readHead(data) ?? last;
    if (last === undefined || !begins(data, last.bytes)) return;
    const at = last.bytes.length;
    if (!isIpPacket(data, at, data.length)) return;
    // The head is not needed any more, and its last two bytes are where the frame's length belongs.
    data.writeUInt16BE(data.length - at, at - 2);
    if (networks.find(last.router)?.deliver(last.gateway, data, at - 2, data.length) === true) return;
    const now = threadWheel.now();
    if (now - toldMs < minTellMs) return;
    toldMs = now;
    end.send(last.absence);
  });
  await end.closed;
}

function begins(data: Buffer, head: Buffer): boolean {
  return data.length > head.length && data.compare(head, 0, head.length, 0, head.length) === 0;
}

/** Undefined for a datagram that names no gateway. */
function readHead(data: Buffer): Head | undefined {
  let request: RelayRequest;
  let length: number;
  try {
    const parsed = parseRelayRequest(data);
    if (parsed === undefined) return undefined;
    ({ message: request, length } = parsed);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    // Anybody may send anything here.
    return undefined;
  }
  if (request.command !== relayCommands.associate) return undefined;
  const { features } = request;
  const tunnel = features.find((feature) => feature.type === 'tunnel');
  const addr = features.find((feature) => feature.type === 'addr');
  if (tunnel === undefined || addr === undefined) return undefined;
  return {
    bytes: Buffer.from(data.subarray(0, length)),
    router: tunnel.id,
    gateway: canonicalGateway(addr.address.host),
    absence: formatRelayResponse(relayStatus.hostUnreachable, [tunnel, addr]),
  };
}
