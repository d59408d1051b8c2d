// Who is at a tunnel's node, as frames alone: clients that answer whatever visits them, and visitors in every way in which one comes.
import net from 'node:net';
import type { Conn } from '../../src/core/conn.ts';
import type { Cleanup } from '../../src/core/peer.fixture.ts';
import { clientHello } from '../../src/protocols/tunnel/entrypoint.fixture.ts';
import { ask, register, requestOf } from '../../src/protocols/tunnel/node.fixture.ts';
import type { Says, TestConnector } from '../../src/protocols/tunnel/node.fixture.ts';
import { get, until } from '../tunnels/scene.ts';

/** How a visitor comes: to the entrypoint with HTTP, TLS or the relay protocol, or to the service itself (CONNECT). */
export const tunnelWays = ['HTTP', 'TLS', 'relay', 'CONNECT'] as const;
export type TunnelWay = (typeof tunnelWays)[number];

/** A client that has registered. */
export interface Registered extends TestConnector {
  /** What it is known by. */
  readonly name: string;
  /** The UUID that the node has given to its connection. */
  readonly id: string;
  /** How long it took. */
  readonly ms: number;
  leave(): void;
}

/** Registers a client which answers every request and the first bytes of every TLS. */
export async function registerClient(cleanup: Cleanup, port: number, says: Says): Promise<Registered> {
  const started = performance.now();
  const connector = await register(cleanup, port, says);
  const ms = performance.now() - started;
  const { features } = connector.answer;
  const addr = features.find((feature) => feature.type === 'addr');
  const tunnel = features.find((feature) => feature.type === 'tunnel');
  if (addr === undefined || tunnel === undefined) throw new Error('the node gave no name');
  void serve(connector);
  return {
    ...{ ...connector, name: addr.address.host, id: tunnel.id, ms },
    leave: () => {
      connector.conn.reset();
    },
  };
}

async function serve(connector: TestConnector): Promise<never> {
  for (;;) {
    const { stream } = await connector.visitor();
    // A visitor that has left is nothing to the next one.
    answer(stream).catch(() => undefined);
  }
}

/** What a client of {@link registerClient} says to a request of HTTP. */
const page = 'hello from the tunnel';
const reply = `HTTP/1.1 200 OK\r\nContent-Length: ${String(page.length)}\r\n\r\n${page}`;

/** And to TLS: an alert of its own. */
const alert = Buffer.from([21, 3, 3, 0, 2, 1, 90]);

async function answer(stream: Conn): Promise<void> {
  let held = '';
  for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) {
    held += bytes.toString('latin1');
    if (held.startsWith('\x16')) {
      await stream.write(alert);
      await stream.end();
      return;
    }
    for (let at = held.indexOf('\r\n\r\n'); at >= 0; at = held.indexOf('\r\n\r\n')) {
      held = held.slice(at + 4);
      await stream.write(Buffer.from(reply));
    }
  }
  await stream.end();
}

/** A visitor, and which way it comes. */
export interface TunnelVisit {
  readonly way: TunnelWay;
  /** Of the service, and of its entrypoint. */
  readonly ports: { readonly service: number; readonly entrypoint: number };
  readonly host: string;
  /** What a visitor of the relay protocol says. */
  readonly tunnel: string;
}

/** What became of a visitor: `ok`; `HTTP 502`, `relay 7`; `closed` without a byte. */
export interface TunnelVisited {
  readonly outcome: string;
  readonly ms: number;
}

/** Makes the visit; what broke it, or that nothing came in ten seconds, is its outcome. */
export function visitTunnel(cleanup: Cleanup, visit: TunnelVisit): Promise<TunnelVisited> {
  return timed(() => outcomeOf(cleanup, visit).catch((error: unknown) => String(error)));
}

async function outcomeOf(cleanup: Cleanup, { way, ports, host, tunnel }: TunnelVisit): Promise<string> {
  switch (way) {
    case 'HTTP': {
      const { status, body } = await get(ports.entrypoint, host);
      if (status !== 200) return `HTTP ${String(status)}`;
      return body === page ? 'ok' : body;
    }
    case 'TLS':
      return greet(ports.entrypoint, host);
    case 'relay':
    case 'CONNECT': {
      const visitor = await openVisit(cleanup, ports[way === 'relay' ? 'entrypoint' : 'service'], {
        tunnel,
        host,
      });
      if (typeof visitor === 'string') return visitor;
      try {
        return await visitor.page();
      } finally {
        visitor.conn.reset();
      }
    }
  }
}

/** A visitor of the relay protocol that was let in. */
export interface OpenVisit {
  readonly conn: Conn;
  /** Asks for the page: `ok`, or what came in its place. */
  page(): Promise<string>;
}

/** Visits by the relay protocol and stays; or what it is told instead. */
async function openVisit(cleanup: Cleanup, port: number, says: Says): Promise<OpenVisit | string> {
  const { status, conn } = await ask(cleanup, port, requestOf('connect', { port: 80, ...says }));
  if (status !== 0) {
    conn.reset();
    return `relay ${String(status)}`;
  }
  return {
    conn,
    async page() {
      await conn.write(Buffer.from(`GET / HTTP/1.1\r\nHost: ${says.host ?? ''}\r\n\r\n`));
      let held = '';
      while (!held.endsWith(page)) {
        const bytes = await conn.read();
        if (bytes === null) return `closed after ${JSON.stringify(held)}`;
        held += bytes.toString('latin1');
      }
      return held === reply ? 'ok' : held;
    },
  };
}

/** Says hello for TLS: `ok` where the client at the other end of the tunnel answers. */
async function greet(port: number, host: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => chunks.push(bytes)).on('error', () => undefined);
  socket.setTimeout(10_000, () => socket.destroy(new Error('nothing came')));
  socket.write(clientHello(host));
  socket.on('end', () => socket.end());
  await new Promise((resolve) => socket.on('close', resolve));
  const told = Buffer.concat(chunks);
  if (told.equals(alert)) return 'ok';
  return told.length === 0 ? 'closed' : `told ${told.toString('hex')}`;
}

/** Which of the ways led in. */
export function waysIn(visits: Readonly<Record<TunnelWay, TunnelVisited>>): Record<TunnelWay, () => boolean> {
  const ways = tunnelWays.map((way) => [way, () => visits[way].outcome === 'ok'] as const);
  return Object.fromEntries(ways) as Record<TunnelWay, () => boolean>;
}

/** What something came to, and how long it took. */
export async function timed(run: () => Promise<string>): Promise<TunnelVisited> {
  const started = performance.now();
  return { outcome: await run(), ms: performance.now() - started };
}

/** Visits by the relay protocol and stays. A machine that is busy may need more than one try. */
export async function letIn(cleanup: Cleanup, port: number, says: Says): Promise<OpenVisit> {
  let visitor: OpenVisit | string = '';
  await until(
    async () => {
      visitor = await openVisit(cleanup, port, says);
      return typeof visitor !== 'string';
    },
    `a visitor of ${says.host ?? ''}`,
  );
  return visitor as unknown as OpenVisit;
}
