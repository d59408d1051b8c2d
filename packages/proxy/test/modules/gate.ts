// An address that stays while what answers there comes and goes: a plugin that fails, and one that is back.
import { once } from 'node:events';
import net from 'node:net';

/** A place at which a plugin is reached. Whoever opened it closes it. */
export interface Gate {
  /** `host:port`. */
  readonly addr: string;
  /** What stood behind it is gone, with all connections; from now on this port of 127.0.0.1 is reached, or nobody. */
  lead(port: number | undefined): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a gate at this loopback address, which nothing else may use: a port that nobody listens at must not be given to
 * anybody else meanwhile.
 */
export async function openGate(host: string): Promise<Gate> {
  const sockets = new Set<net.Socket>();
  let behind: number | undefined;
  const server = net.createServer((near) => {
    const far = net.connect(behind!, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
      one
        .on('error', () => other.destroy())
        .on('close', () => {
          sockets.delete(one);
          other.destroy();
        });
    }
  });
  const listen = async (port: number) => {
    server.listen(port, host);
    await once(server, 'listening');
  };
  await listen(0);
  const { port } = server.address() as net.AddressInfo;
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  const cut = async () => {
    drop();
    if (!server.listening) return;
    server.close();
    await once(server, 'close');
  };
  return {
    addr: `${host}:${String(port)}`,
    async lead(to) {
      behind = to;
      if (to === undefined) await cut();
      else drop();
      // It listens on where it did before: nobody is to find it closed.
      if (to !== undefined && !server.listening) await listen(port);
    },
    close: cut,
  };
}
