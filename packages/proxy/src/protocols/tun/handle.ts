import { performance } from 'node:perf_hooks';
import { formatAddress } from '../../core/address.ts';
import type { Address, End } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import type { Handler, ServiceHost } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import { Lender } from './lender.ts';
import type { Loan } from './lender.ts';

/** After a network that was lost, or could not be joined, it is tried again so much later, then after twice the time. */
const firstPauseMs = 1000;
const maxPauseMs = 30_000;

/** A node that is sent packets and sends none for so long may be gone; it is joined anew, then after twice the time. */
const defaultSilenceMs = 15_000;
const maxSilenceMs = 300_000;

/** What a test may change. */
export interface TunOptions {
  /** Default 15,000. */
  readonly silenceMs?: number;
}

/**
 * The handler that joins the network of a router with each device that the listener accepts: along the service's chain, whose last
 * node is a router, as the gateway that a node of the service's forwarder names. Where the network is lost it is joined again; the
 * device stays, and what it sends meanwhile is dropped. A node that says nothing any more, which TCP may find out after a quarter of
 * an hour, is joined a second time, and left when that has succeeded.
 */
export function createTunStart({ silenceMs = defaultSilenceMs }: TunOptions = {}): NonNullable<
  Handler['start']
> {
  return (host: ServiceHost) => {
    const devices = new Set<Datagrams>();
    return Promise.resolve({
      async handle(end: End, session: Session) {
        if (end.kind !== 'datagrams')
          throw new ProxyError('unsupported', 'self', 'handler `tun` needs packets; listener `tun` has them');
        devices.add(end);
        try {
          await new Membership(end, session, host, silenceMs).serve();
        } finally {
          devices.delete(end);
          end.close();
        }
      },
      retire() {
        // The device goes on with the configuration that comes next.
        for (const end of devices) end.close();
      },
      close: () => Promise.resolve(),
    });
  };
}

/** A network that has been joined. */
interface Joined {
  readonly gateway: Address;
  readonly upstream: Datagrams;
  readonly loan: Loan;
  readonly sinceMs: number;
  /** Resolves when it is over, with what broke it. Never rejects. */
  readonly over: Promise<ProxyError | undefined>;
}

/** One device in its network, for as long as it is there. */
class Membership {
  readonly #device: Datagrams;
  readonly #session: Session;
  readonly #host: ServiceHost;
  readonly #silenceMs: number;
  readonly #lender: Lender;
  readonly #gone: Promise<void>;
  #isGone = false;
  #failures = 0;

  constructor(device: Datagrams, session: Session, host: ServiceHost, silenceMs: number) {
    this.#device = device;
    this.#session = session;
    this.#host = host;
    this.#silenceMs = silenceMs;
    this.#lender = new Lender(device);
    this.#gone = device.closed.then(() => {
      this.#isGone = true;
    });
  }

  async serve(): Promise<void> {
    while (!this.#isGone) {
      const started = performance.now();
      let joined: Joined;
      try {
        joined = await this.#join();
      } catch (cause) {
        await this.#failed(ProxyError.from(cause), undefined, started);
        continue;
      }
      this.#failures = 0;
      await this.#stay(joined);
    }
  }

  /** Until the network is lost. */
  async #stay(first: Joined): Promise<void> {
    let joined = first;
    let patienceMs = this.#silenceMs;
    /** To join anew, since the last that succeeded. */
    let attempts = 0;
    for (;;) {
      const silence = joined.loan.silence(patienceMs);
      const over = await Promise.race([joined.over.then((error) => ({ error })), silence.heard]);
      silence.stop();
      if (over !== undefined) {
        const { gateway, sinceMs } = joined;
        await this.#failed(over.error, gateway, sinceMs);
        return;
      }
      const { hasHeard } = joined.loan;
      try {
        const next = await this.#join();
        joined.upstream.close();
        joined = next;
        // The node may only have nothing to say; so it is not asked again and again.
        patienceMs = hasHeard ? this.#silenceMs : Math.min(maxSilenceMs, 2 * patienceMs);
        attempts = 0;
      } catch {
        // Nothing better is to be had now; the session's dial has said why. The next may lead to another node.
        patienceMs = Math.min(maxPauseMs, (this.#silenceMs / 5) * 2 ** attempts++);
      }
    }
  }

  async #join(): Promise<Joined> {
    const sinceMs = performance.now();
    const { end, node } = await this.#session.forward({ network: 'udp' });
    const { address: gateway } = node;
    const upstream = checked(end, gateway);
    this.#host.inform(`${formatAddress(this.#device.local)} has joined the network as ${gateway.host}`);
    const loan = this.#lender.lend();
    const over = this.#session.relay(loan.end, upstream).catch((error: unknown) => ProxyError.from(error));
    return { gateway, upstream, loan, sinceMs, over };
  }

  /** Tells what went wrong, and waits, but no longer than the device is there. */
  async #failed(cause: ProxyError | undefined, gateway: Address | undefined, sinceMs: number): Promise<void> {
    const error = this.#isGone
      ? cause
      : (cause ?? new ProxyError('upstreamClosed', 'upstream', 'the node has ended the connection'));
    if (error !== undefined && !this.#isGone) this.#host.problem(withReason(error, gateway));
    this.#session.note({
      ...{ what: 'tun', target: gateway, user: this.#session.user, status: undefined },
      ...{ ms: performance.now() - sinceMs, error },
    });
    if (this.#isGone) return;
    let timer: NodeJS.Timeout | undefined;
    const passed = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, Math.min(maxPauseMs, firstPauseMs * 2 ** this.#failures++));
    });
    await Promise.race([passed, this.#gone]);
    clearTimeout(timer);
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
