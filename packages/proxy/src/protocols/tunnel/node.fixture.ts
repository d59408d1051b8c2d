import type { SdService } from '@sallyport/plugin';
import type { Conn } from '../../core/conn.ts';
import { Handshake } from '../../core/handshake.ts';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import type { TestParts, TestProxy } from '../../core/http/proxy.fixture.ts';
import { manualWheel } from '../../core/manual-clock.fixture.ts';
import type { ManualClock } from '../../core/manual-clock.fixture.ts';
import { muxEnd } from '../../core/mux/mux-pair.fixture.ts';
import type { MuxEnd } from '../../core/mux/mux-pair.fixture.ts';
import type { MuxSettings } from '../../core/mux/settings.ts';
import type { Cleanup } from '../../core/peer.fixture.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Handler, NamedModules } from '../../core/protocol.ts';
import { listIngress } from '../../policies/ingress/list.ts';
import { tcp } from '../../transports/tcp/index.ts';
import { formatRelayRequest, parseRelayResponse, relayCommands, relayUdpFlag } from '../../wire/relay.ts';
import type { RelayResponse } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import { handlerFields } from './options.ts';
import { startTunnel } from './start.ts';

/** Tunnels by what they are to a test. */
export const ids = {
  one: '11111111-1111-4111-8111-111111111111',
  two: '22222222-2222-4222-8222-222222222222',
  public: 'eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee',
} as const;

const way = tcp.wrap(undefined, { metadata: {} });

/** A node of tunnels, its clock, and what it said outside any session. */
export interface TestNode {
  readonly proxy: TestProxy;
  readonly port: number;
  readonly clock: ManualClock;
  readonly problems: readonly string[];
  readonly told: readonly string[];
  /** Of the entrypoint that was opened first. */
  readonly entrypoint: number;
}

/** What a test says of its node. */
export type NodeParts = TestParts & {
  readonly ingress?: Readonly<Record<string, PolicyOf<'ingress'>>>;
  readonly sd?: Readonly<Record<string, PolicyOf<'sd'>>>;
  readonly clock?: ReturnType<typeof manualWheel>;
};

/** Starts one, with rules of its own where `metadata.tunnel` has some. */
export async function startNode(
  cleanup: Cleanup,
  { ingress = {}, sd = {}, clock = manualWheel(), ...parts }: NodeParts = {},
): Promise<TestNode> {
  const problems: string[] = [];
  const told: string[] = [];
  const modules: NamedModules = {
    ingress: (name) => ingress[name],
    sd: (name) => sd[name],
    router: () => undefined,
    ingressOf: (rules) => listIngress({ rules }),
  };
  const handler: Handler = {
    metadata: handlerFields,
    serves: 'stream',
    handle: () => Promise.reject(new Error('a started handler handles by itself')),
    start: (host, options, before) => startTunnel(host, { ...options, modules }, before, clock.wheel),
  };
  // What is told at the end is waited for, and the clock stands still.
  let ending: NodeJS.Timeout | undefined;
  cleanup.add(ending, () => {
    clearInterval(ending);
  });
  const proxy = await startHandler(cleanup, handler, {
    sockets: () => way,
    problem: ({ message }) => problems.push(message),
    inform: (text) => told.push(text),
    ...parts,
  });
  cleanup.add(proxy, () => {
    ending = setInterval(() => {
      clock.clock.advance(1000);
    }, 1);
  });
  return {
    ...{ proxy, port: proxy.port, clock: clock.clock, problems, told },
    get entrypoint() {
      return Number(/entrypoint at .*:(\d+)$/.exec(told.find((one) => / at /.test(one))!)![1]);
    },
  };
}

/** What a client says. */
export interface Says {
  readonly tunnel?: string;
  readonly network?: 'tcp' | 'udp';
  readonly user?: string;
  readonly host?: string;
  readonly port?: number;
  readonly weight?: number;
  readonly more?: readonly RelayFeature[];
}

/** A request as GOST writes it. */
export function requestOf(command: keyof typeof relayCommands, says: Says = {}): Buffer {
  const { tunnel: id = ids.one, network = 'tcp', user, host = '0.0.0.0', port = 0, weight = 0 } = says;
  return formatRelayRequest({
    command: relayCommands[command],
    flags: network === 'udp' ? relayUdpFlag : 0,
    features: [
      ...(network === 'udp' ? [{ type: 'network' as const, network: relayNetworks.udp }] : []),
      ...(user === undefined ? [] : [{ type: 'userAuth' as const, username: user, password: user }]),
      { type: 'addr', address: { host: '192.0.2.7', port: 7777 } },
      { type: 'addr', address: { host, port } },
      { type: 'tunnel', id, flags: 0, weight },
      ...(says.more ?? []),
    ],
  });
}

/** Connects to a port of this machine. */
export async function dial(cleanup: Cleanup, port: number): Promise<Conn> {
  const signal = new AbortController().signal;
  const conn = await way.dial({ host: '127.0.0.1', port }, { signal });
  return cleanup.add(conn, () => {
    conn.reset();
  });
}

/** The next answer of the relay protocol. */
export function answerOf(conn: Conn): Promise<RelayResponse> {
  return new Handshake(conn, { side: 'upstream', timeoutMs: 5000 }).read(parseRelayResponse);
}

/** Says something, and waits for the answer; what follows it is read from the connection. */
export async function ask(
  cleanup: Cleanup,
  port: number,
  request: Buffer,
): Promise<RelayResponse & { readonly conn: Conn }> {
  const conn = await dial(cleanup, port);
  await conn.write(request);
  return { ...(await answerOf(conn)), conn };
}

/** Asks for something that is not given; answers the status. Fails where the connection then stays. */
export async function refused(cleanup: Cleanup, port: number, request: Buffer): Promise<number> {
  const { status, conn } = await ask(cleanup, port, request);
  if ((await conn.read()) !== null) throw new Error('more was said than no');
  await conn.end();
  return status;
}

/** A client that has registered. */
export interface TestConnector extends MuxEnd {
  readonly answer: RelayResponse;
  /** The next visitor, and what its stream began with. */
  visitor(): Promise<{ readonly stream: Conn; readonly head: RelayResponse }>;
}

/** Registers a client. */
export async function register(
  cleanup: Cleanup,
  port: number,
  says: Says = {},
  settings: MuxSettings = { version: 2 },
): Promise<TestConnector> {
  const { conn, ...answer } = await ask(cleanup, port, requestOf('bind', says));
  if (answer.status !== 0) throw new Error(`refused with ${String(answer.status)}`);
  const end = muxEnd(conn, 'server', settings);
  return {
    ...end,
    answer,
    async visitor() {
      const stream = await end.next();
      return { stream, head: await answerOf(stream) };
    },
  };
}

/** A visitor that was let in. */
export async function visits(cleanup: Cleanup, port: number, says: Says = {}): Promise<Conn> {
  const { status, conn } = await ask(
    cleanup,
    port,
    requestOf('connect', { host: 'web.test', port: 80, ...says }),
  );
  if (status !== 0) throw new Error(`refused with ${String(status)}`);
  return conn;
}

/** The next bytes as text. */
export async function heard(conn: Conn): Promise<string | undefined> {
  return (await conn.read())?.toString();
}

/** A service discovery in memory, and what it was told, in order. */
export interface TestSd {
  readonly policy: PolicyOf<'sd'>;
  readonly said: { readonly verb: 'register' | 'renew' | 'deregister'; readonly service: SdService }[];
  readonly services: Map<string, SdService>;
  /** Resolves when it has been told so many things. */
  until(count: number): Promise<void>;
}

/** Makes one. `answers`: what every change waits for. */
export function memorySd(answers: () => Promise<void> = () => Promise.resolve()): TestSd {
  const said: TestSd['said'] = [];
  const services = new Map<string, SdService>();
  const waiting: { readonly count: number; readonly done: () => void }[] = [];
  const change = (verb: TestSd['said'][number]['verb']) => async (service: SdService) => {
    said.push({ verb, service });
    for (const { count, done } of waiting) if (said.length >= count) done();
    await answers();
    if (verb === 'deregister') services.delete(service.id);
    else services.set(service.id, service);
  };
  return {
    said,
    services,
    policy: {
      register: change('register'),
      renew: change('renew'),
      deregister: change('deregister'),
      get: ({ name }) => [...services.values()].filter((one) => one.name === name),
    },
    until: (count) =>
      new Promise((done) => {
        waiting.push({ count, done });
        if (said.length >= count) done();
      }),
  };
}
