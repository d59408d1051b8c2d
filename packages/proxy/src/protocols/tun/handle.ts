import { performance } from 'node:perf_hooks';
import { formatAddress } from '../../core/address.ts';
import type { Address, End } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import type { ServiceHost, StartedHandler } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';

/** After a network that was lost, or could not be joined, it is tried again so much later, then after twice the time. */
const firstPauseMs = 1000;
const maxPauseMs = 30_000;

type Take = (data: Buffer, peer: Address) => void;

/**
 * Joins the network of a router with each device that the listener accepts: along the service's chain, whose last node is a
 * router, as the gateway that a node of the service's forwarder names. Where the network is lost it is joined again; the device
 * stays, and what it sends meanwhile is dropped.
 */
export function startTun(host: ServiceHost): Promise<StartedHandler> {
  const sites = new Set<Datagrams>();
  return Promise.resolve({
    async handle(end: End, session: Session) {
      if (end.kind !== 'datagrams')
        throw new ProxyError('unsupported', 'self', 'handler `tun` needs packets; listener `tun` has them');
      sites.add(end);
      try {
        await serveDevice(end, session, host);
      } finally {
        sites.delete(end);
        end.close();
      }
    },
    retire() {
      // The device goes on with the configuration that comes next.
      for (const end of sites) end.close();
    },
    close: () => Promise.resolve(),
  });
}

async function serveDevice(device: Datagrams, session: Session, host: ServiceHost): Promise<void> {
  let isOver = false;
  const over = device.closed.then(() => {
    isOver = true;
  });
  const lender = new Lender(device);
  for (let failures = 0; !isOver;) {
    const started = performance.now();
    let gateway: Address | undefined;
    let error: ProxyError | undefined;
    try {
      const { end, node } = await session.forward({ network: 'udp' });
      gateway = node.address;
      if (isOver) {
        if (end.kind === 'datagrams') end.close();
        else end.reset();
        break;
      }
      failures = 0;
      host.inform(`${formatAddress(device.local)} has joined the network as ${gateway.host}`);
      error = await session.relay(lender.lend(), checked(end, gateway));
    } catch (cause) {
      error = ProxyError.from(cause);
    }
    // The last of them, or that the program ends.
    if (!isOver) {
      error ??= new ProxyError('upstreamClosed', 'upstream', 'the node has ended the connection');
      host.problem(withReason(error, gateway));
    }
    session.note({
      ...{ what: 'tun', target: gateway, user: session.user, status: undefined },
      ...{ ms: performance.now() - started, error },
    });
    if (isOver) break;
    await pause(Math.min(maxPauseMs, firstPauseMs * 2 ** failures++), over);
  }
}

/** What a gateway's packets are carried by. Throws ProxyError `unsupported` where the node is none. */
function checked(end: End, gateway: Address): Datagrams {
  if (end.kind === 'datagrams' && gateway.port === 0) return end;
  if (end.kind === 'datagrams') end.close();
  else end.reset();
  const message = `${formatAddress(gateway)} is where a VPN over UDP would be, which this version does not serve; a gateway of a router’s network has no port`;
  throw new ProxyError('unsupported', 'self', message);
}

function withReason(error: ProxyError, gateway: Address | undefined): ProxyError {
  const what =
    gateway === undefined ? 'the network cannot be joined' : `the network is lost as ${gateway.host}`;
  return new ProxyError(error.code, error.at, `${what}, and it is tried again: ${error.message}`, {
    cause: error,
  });
}

/** Resolves after so long, or as soon as the device is gone. */
async function pause(ms: number, over: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([passed, over]);
  clearTimeout(timer);
}

/** Gives a device to one relay after the other: what a relay closes is what it was lent. */
class Lender {
  readonly #device: Datagrams;
  #take: Take | undefined;

  constructor(device: Datagrams) {
    this.#device = device;
    device.receive((data, peer) => this.#take?.(data, peer));
  }

  lend(): Datagrams {
    const { local, remote, closed: gone } = this.#device;
    let take: Take | undefined;
    let end!: () => void;
    const closed = new Promise<void>((resolve) => (end = resolve));
    void gone.then(end);
    return {
      ...{ kind: 'datagrams', local, remote, closed },
      receive: (each) => {
        this.#take = take = each;
      },
      send: (data) => this.#device.send(data),
      close: () => {
        if (this.#take === take) this.#take = undefined;
        end();
      },
    };
  }
}
