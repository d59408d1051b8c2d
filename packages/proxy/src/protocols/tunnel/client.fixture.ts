import { Handshake } from '../../core/handshake.ts';
import type { Conn, End } from '../../core/conn.ts';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import type { MemoryEnd } from '../../core/memory-conn.fixture.ts';
import { createMuxSession } from '../../core/mux/mux-session.ts';
import type { MuxSession } from '../../core/mux/mux-session.ts';
import type { MuxSettings } from '../../core/mux/settings.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { formatRelayResponse, parseRelayRequest } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';

/** The tunnel of the tests, and its bytes in hexadecimal. */
export const tunnelId = '4d21094e-b74c-4916-86c1-d9fa36ea677b';
export const tunnelHex = tunnelId.replaceAll('-', '');

/** A connector that a node has given a name of its own. */
const connectorId = '9d2c7a1e-0000-4000-8000-000000000001';

export const addr = (host: string, port: number): RelayFeature => ({ type: 'addr', address: { host, port } });

/** A node's yes to a registration, as GOST writes it. */
export function registered(host: string, port: number): Buffer {
  return formatRelayResponse(0, [addr(host, port), { type: 'tunnel', id: connectorId, flags: 0, weight: 0 }]);
}

/** What the file says of a connector. */
export function connectorOptions(more: Partial<ConnectorOptions> = {}): ConnectorOptions {
  return { metadata: { tunnelId }, node: { host: '192.0.2.2', port: 80 }, ...more };
}

/** The connection with a node, and the node's end of it. */
export interface ScriptedNode {
  /** Ours. */
  readonly conn: MemoryEnd;
  /** The node's. */
  readonly end: MemoryEnd;
  /** The next request that the node is sent. */
  request(): Promise<RelayRequest>;
  /** From now on the node opens streams. */
  mux(settings?: MuxSettings): MuxSession;
}

/** A node that does what a test says. */
export function scriptedNode(): ScriptedNode {
  const [end, conn] = memoryConnPair();
  return {
    conn,
    end,
    request: () => new Handshake(end, { side: 'client', timeoutMs: 5000 }).read(parseRelayRequest),
    mux: (settings = { version: 2 }) => createMuxSession(end, { role: 'client', side: 'client', settings }),
  };
}

/** What is accepted, one after the other. */
export class Arrivals {
  readonly all: End[] = [];
  readonly #waiting: ((end: End) => void)[] = [];

  readonly accept = (end: End): void => {
    const next = this.#waiting.shift();
    if (next === undefined) this.all.push(end);
    else next(end);
  };

  next(): Promise<End> {
    const end = this.all.shift();
    return end === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(end);
  }

  async stream(): Promise<Conn> {
    const end = await this.next();
    if (end.kind !== 'stream') throw new Error('datagrams came');
    return end;
  }
}
