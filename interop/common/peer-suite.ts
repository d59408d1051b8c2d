// One suite for every gRPC peer, both ways: its server is asked by connectPlugin, its client asks servePlugins.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  connectPlugin,
  contractByKind,
  contracts,
  implement,
  PluginError,
  servePlugins,
  type AnyMethod,
  type Contract,
  type PluginErrorCode,
} from '@sallyport/plugin';
import { interopCases, withoutNulls, type InteropCase } from './cases.ts';
import { clientFlags, createLinkFiles, serverFlags, type LinkFiles, type LinkName } from './links.ts';
import { runPeer, startPeer, type PeerProgram } from './program.ts';

/** How a peer's two programs are started; both take the flags of ../README.md. */
export interface Peer {
  readonly name: string;
  readonly server: readonly string[];
  readonly client: readonly string[];
  /** One line that says what is missing, or false. */
  readonly missing: string | false;
}

type Ask = (ask: object, call: { meta: object; signal?: AbortSignal }) => Promise<unknown>;
type Client = Record<string, Ask> & { close(): Promise<void> };

const token = 'gost';
const linkNames: readonly LinkName[] = ['plain', 'unix', 'tls', 'mtls'];
const title = (one: InteropCase) => `${one.method.slice(7)}: ${one.title}`;

/** Makes values of both sides comparable: bytes are bytes, whatever class holds them. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('base64')}`;
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, comparable(one)]));
}

/** Declares the tests of one peer. */
export function peerSuite(peer: Peer): void {
  describe(peer.name, { skip: peer.missing }, () => {
    let files: LinkFiles;
    before(() => {
      files = createLinkFiles();
    });
    after(() => files.remove());

    for (const link of linkNames) {
      describe(`our client, its server, ${link}`, () => askPeer(peer, link, () => files));
      describe(`its client, our server, ${link}`, () => servePeer(peer, link, [], () => files));
    }
    describe('its client compresses, our server, plain', () =>
      servePeer(peer, 'plain', ['-gzip'], () => files));
    describe('our client, its server, what is no answer', () => askPeerInVain(peer, () => files));
    describe('its client, our server, what is no answer', () => servePeerInVain(peer, () => files));
  });
}

/** A client of ours for one module of a peer's server. */
function connect(
  contract: Contract,
  address: string,
  link: LinkName,
  files: LinkFiles,
  more: object,
): Client {
  const tls =
    link === 'tls' || link === 'mtls' ? { ca: [files.ca], ...(link === 'mtls' && files.client) } : undefined;
  const addr = link === 'unix' ? `unix:${files.at('peer.sock')}` : address;
  return connectPlugin(contract, { transport: 'grpc', addr, token, tls, ...more }) as unknown as Client;
}

function askPeer(peer: Peer, link: LinkName, filesOf: () => LinkFiles): void {
  let program: PeerProgram;
  let listening: string;
  const clients = new Map<string, Client>();

  before(async () => {
    const files = filesOf();
    const script: Record<string, object[]> = {};
    for (const one of interopCases) {
      const trailers = { 'sallyport-ttl-ms': '250', 'sallyport-reason': 'because', 'sallyport-tag': 'a=1' };
      (script[one.method] ??= []).push({ reply: one.reply, trailers });
    }
    program = startPeer([
      ...peer.server,
      ...['-script', files.script(script), '-token', token],
      ...serverFlags(link, files),
    ]);
    listening = String((await program.next())['listening']);
    for (const contract of contracts) {
      // Nothing is answered from memory, as no two cases of a method ask the same.
      clients.set(contract.kind, connect(contract, listening, link, files, { timeoutMs: 10_000 }));
    }
  });
  after(async () => {
    for (const one of clients.values()) await one.close();
    await program.stop();
  });

  if (link === 'mtls') {
    test('without a certificate there is no answer', async () => {
      const client = connect(contractByKind.admission, listening, 'tls', filesOf(), {});
      try {
        await assert.rejects(client['admit']!(question, { meta: {} }), PluginError);
      } finally {
        await client.close();
      }
    });
  }
  for (const one of interopCases) {
    test(title(one), async () => {
      const meta = {};
      const answer = await clients.get(one.kind)![one.name]!(one.ask, { meta });
      assert.deepEqual(comparable(answer), comparable(one.answer));
      assert.deepEqual(meta, { ttlMs: 250, reason: 'because', tags: ['a=1'] });
      const asked = await program.next();
      assert.equal(asked['method'], one.method);
      assert.deepEqual(withoutNulls(asked['request']), one.request);
    });
  }
}

/** A server of ours with every module. Each method checks its questions against the cases, in their order. */
async function serveCases(link: LinkName, files: LinkFiles, heard: string[]) {
  const left = new Map<string, InteropCase[]>();
  for (const one of interopCases) left.set(one.method, [...(left.get(one.method) ?? []), one]);
  const modules = contracts.map((contract) => {
    const methods = Object.entries<AnyMethod>(contract.methods).map(([name, method]) => {
      const cases = left.get(`/${contract.service}/${method.rpc}`)!;
      const answer = (ask: object, call: { meta: { ttlMs?: number; reason?: string; tags?: string[] } }) => {
        const one = cases.shift()!;
        heard.push(title(one));
        assert.deepEqual(comparable(ask), comparable(one.ask));
        Object.assign(call.meta, { ttlMs: 250, reason: 'because', tags: ['a=1'] });
        return one.answer;
      };
      return [name, answer];
    });
    return implement(contract, Object.fromEntries(methods));
  });
  const tls =
    link === 'tls' || link === 'mtls'
      ? { ...files.server, ...(link === 'mtls' && { ca: files.ca }) }
      : undefined;
  const where = link === 'unix' ? { path: files.at('ours.sock') } : { port: 0 };
  const errors: unknown[] = [];
  const server = await servePlugins(modules, {
    ...where,
    token,
    tls,
    onError: (error) => errors.push(error),
  });
  // A name, because grpc-js gives an address as TLS server name, which the newest Node refuses.
  const target = link === 'unix' ? server.addr : `localhost:${String(portOf(server.address))}`;
  return { server, target, errors };
}

function portOf(address: unknown): number {
  return (address as { port: number }).port;
}

function servePeer(peer: Peer, link: LinkName, more: readonly string[], filesOf: () => LinkFiles): void {
  const heard: string[] = [];
  let errors: unknown[] = [];
  let results: Record<string, unknown>[] = [];
  let refused: Record<string, unknown> | undefined;

  before(async () => {
    const files = filesOf();
    const served = await serveCases(link, files, heard);
    ({ errors } = served);
    const calls = interopCases.map(({ method, request }) => ({ method, request, token }));
    const flags = ['-script', files.script(calls), '-target', served.target, ...clientFlags(link, files)];
    try {
      results = await runPeer([...peer.client, ...flags, ...more], calls.length);
      if (link === 'mtls') {
        const bare = ['-script', files.script(calls.slice(0, 1)), '-target', served.target];
        [refused] = await runPeer([...peer.client, ...bare, ...clientFlags('tls', files)], 1);
      }
    } finally {
      await served.server.close();
    }
  });

  if (link === 'mtls') {
    test('without a certificate there is no answer', () => {
      assert.equal(refused?.['code'], 14);
    });
  }
  test('our server heard every question, in order', () => {
    assert.deepEqual(errors, []);
    assert.deepEqual(heard, interopCases.map(title));
  });
  for (const [index, one] of interopCases.entries()) {
    test(title(one), () => {
      const { method, reply, message, trailers } = results[index]!;
      assert.equal(method, one.method);
      assert.equal(message, undefined);
      assert.deepEqual(withoutNulls(reply), one.served ?? one.reply);
      const sent = trailers as Record<string, string[]>;
      assert.deepEqual(sent['sallyport-ttl-ms'], ['250']);
      assert.deepEqual(sent['sallyport-reason'], ['because']);
      assert.deepEqual(sent['sallyport-tag'], ['a=1']);
    });
  }
}

const admit = '/proto.Admission/Admit';
const question = { client: '192.0.2.1:1', service: 's', network: 'tcp' };
const message = 'no: 100% wrong,\n世界';

/** gRPC statuses that a plugin may send, and what they are to whoever asked. */
const failures: readonly (readonly [code: number, is: PluginErrorCode])[] = [
  [2, 'internal'],
  [8, 'overloaded'],
  [12, 'internal'],
  [13, 'internal'],
  [14, 'unreachable'],
  [16, 'unauthenticated'],
];

function askPeerInVain(peer: Peer, filesOf: () => LinkFiles): void {
  /** Asks once with the given script and returns the failure, with all that the peer printed. */
  const fail = async (steps: readonly object[], more: object, lines: number, cancel = false) => {
    const files = filesOf();
    const script = files.script({ [admit]: steps });
    const program = startPeer([...peer.server, '-script', script, '-token', token]);
    const { listening } = await program.next();
    const client = connect(contractByKind.admission, String(listening), 'plain', files, more);
    const controller = new AbortController();
    const printed: Record<string, unknown>[] = [];
    try {
      const asked = client['admit']!(question, { meta: {}, signal: controller.signal }).then(
        () => assert.fail('it was answered'),
        (error: unknown) => error as PluginError,
      );
      while (printed.length < lines) {
        printed.push(await program.next());
        if (cancel) controller.abort();
      }
      return { error: await asked, printed };
    } finally {
      await client.close();
      await program.stop();
    }
  };

  for (const [code, is] of failures) {
    test(`status ${String(code)} is ${is}, with its message`, async () => {
      // A safe question is asked twice where the first answer says that the server is not there.
      const { error } = await fail(
        [
          { code, message },
          { code, message },
        ],
        {},
        1,
      );
      assert.ok(error instanceof PluginError);
      assert.equal(error.code, is);
      assert.equal(error.grpcStatus, code);
      assert.match(error.message, /100% wrong,\s世界/);
    });
  }
  test('a wrong token is unauthenticated', async () => {
    const { error } = await fail([], { token: 'wrong' }, 0);
    assert.equal(error.code, 'unauthenticated');
  });
  test('a deadline ends the call on both sides', async () => {
    const { error, printed } = await fail([{ hang: true }], { timeoutMs: 300 }, 2);
    assert.equal(error.code, 'timeout');
    assert.equal(printed[1]?.['gone'], true);
  });
  test('leaving ends the call on both sides', async () => {
    const { error, printed } = await fail([{ hang: true }], { timeoutMs: 20_000 }, 2, true);
    assert.equal(error.code, 'canceled');
    assert.equal(printed[1]?.['gone'], true);
  });
}

function servePeerInVain(peer: Peer, filesOf: () => LinkFiles): void {
  const ask = async (call: object, admits: (call: { signal: AbortSignal }) => boolean | Promise<boolean>) => {
    const files = filesOf();
    const modules = [implement(contractByKind.admission, { admit: (_ask, served) => admits(served) })];
    const server = await servePlugins(modules, { port: 0, token, onError: () => undefined });
    const flags = ['-script', files.script([call]), '-target', `127.0.0.1:${String(portOf(server.address))}`];
    try {
      return (await runPeer([...peer.client, ...flags], 1))[0]!;
    } finally {
      await server.close();
    }
  };
  const request = { addr: '', service: '', network: '' };

  test('a wrong token is UNAUTHENTICATED', async () => {
    assert.equal((await ask({ method: admit, request, token: 'wrong' }, () => true))['code'], 16);
    assert.equal((await ask({ method: admit, request }, () => true))['code'], 16);
  });
  test('a module that is not served is UNIMPLEMENTED, and the message says what is', async () => {
    const { code, message } = await ask(
      { method: '/proto.SD/Get', request: { name: 'a' }, token },
      () => true,
    );
    assert.equal(code, 12);
    assert.match(String(message), /admission/i);
  });
  test('a policy that throws is INTERNAL, without its text', async () => {
    const { code, message } = await ask({ method: admit, request, token }, () => {
      throw new Error('the password of the database');
    });
    assert.equal(code, 13);
    assert.doesNotMatch(String(message), /password/);
  });
  test('a deadline reaches the policy, and the client hears of it', async () => {
    let gone = false;
    const { code } = await ask({ method: admit, request, token, timeoutMs: 300 }, ({ signal }) => {
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          gone = true;
          resolve(true);
        });
      });
    });
    assert.equal(code, 4);
    assert.ok(gone);
  });
}
