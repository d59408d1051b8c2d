import { PluginError } from '@sallyport/plugin';
import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { formatSocks5Frame } from '../wire/socks5-udp.ts';
import type { Address, Conn, PeerTls } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { Decided, SessionEvent } from './events.ts';
import { LiveSession } from './live-session.ts';
import type { SessionSettings } from './session-settings.ts';
import { memoryConnPair } from './memory-conn.fixture.ts';
import type { PolicyOf } from './policies.ts';
import type { Chain, Forwarder } from './route.ts';
import type { TrafficLimits } from './traffic-limits.ts';
import { createUdpTunnel } from './udp-tunnel.ts';
import type { Way } from './way.ts';

/** A connection that carries nothing and ends when told to. */
function fakeConn(tls?: PeerTls): { conn: Conn; close: () => void } {
  let close!: () => void;
  const closed = new Promise<void>((resolve) => (close = resolve));
  const conn = { kind: 'stream', remote: { host: '192.0.2.7', port: 4711 }, closed, tls } as unknown as Conn;
  return { conn, close };
}

function upstreamConn(): Conn {
  return { kind: 'stream', local: { host: '', port: 0 }, remote: { host: '', port: 1 } } as unknown as Conn;
}

function scene(
  authenticate?: PolicyOf<'auth'>['authenticate'],
  dial?: Way['dial'],
  tls?: PeerTls,
  more: Partial<SessionSettings> = {},
) {
  const { conn, close } = fakeConn(tls);
  const events: SessionEvent[] = [];
  const session = new LiveSession(conn, 's1', {
    service: 'front',
    ...(authenticate !== undefined && { auth: { authenticate } }),
    direct: { dial: dial ?? (() => Promise.reject(new Error('not dialled'))) } as Way,
    publish: (_session, event) => events.push(event),
    retries: 0,
    dialTimeoutMs: 15_000,
    idleMs: 0,
    serve: () => Promise.resolve(),
    ...more,
  });
  return { session, close, events, decided: () => events.at(-1) as Decided };
}

const gost = { username: 'gost', password: 'gost' };
const call = (outcome: CallEvent['outcome'], error?: string) => ({ name: 'a', outcome, error }) as CallEvent;

describe('authenticate', () => {
  test('nobody is asked where there is no auther', async () => {
    const { session, events } = scene();
    expect(session.authenticates).toBe(false);
    await session.authenticate(gost);
    expect(session.user).toBe('');
    expect(events).toEqual([]);
  });

  test('a yes names the user; the question holds all that is known', async () => {
    const certificate = { commonName: 'cn', subjectAltNames: ['a.test'], fingerprint: 'f0' };
    const asks: unknown[] = [];
    for (const verified of [true, false]) {
      const { session, decided } = scene(
        (ask) => {
          asks.push(ask);
          return { ok: true, user: 'id-1' };
        },
        undefined,
        { ...certificate, verified },
      );
      await session.authenticate(gost);
      expect(session.user).toBe('id-1');
      expect(decided()).toMatchObject({ outcome: 'yes', about: 'gost', answer: 'id-1' });
    }
    const ask = { ...gost, client: '192.0.2.7:4711', service: 'front' };
    expect(asks).toEqual([
      { ...ask, certificate: { commonName: 'cn', names: ['a.test'], fingerprint: 'f0' } },
      { ...ask, certificate: undefined },
    ]);
  });

  test('no and could not ask are different', async () => {
    const no = scene((_ask, { observe }) => {
      observe?.(call('timeout', 'one was slow'));
      observe?.(call('ok'));
      return { ok: false, user: 'ignored' };
    });
    await expect(no.session.authenticate(gost)).rejects.toMatchObject({
      code: 'wrongCredentials',
      at: 'client',
    });
    expect(no.decided()).toMatchObject({ outcome: 'no', answer: '' });
    expect(no.decided().calls).toHaveLength(2);

    const thrown = scene(() => {
      throw new PluginError('unreachable', 'nothing listens');
    });
    const error = await thrown.session.authenticate(gost).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'couldNotAsk', at: 'plugin', message: 'nothing listens' });
    expect((error as ProxyError).cause).toBeInstanceOf(PluginError);
    expect(thrown.decided()).toMatchObject({ outcome: 'couldNotAsk', error });

    const silent = scene((_ask, { observe }) => {
      observe?.(call('timeout', 'too slow'));
      return { ok: false, user: '' };
    });
    await expect(silent.session.authenticate(gost)).rejects.toMatchObject({
      code: 'couldNotAsk',
      message: 'too slow',
    });
  });

  test('whoever fails is nobody any more', async () => {
    const { session } = scene(({ password }) => ({ ok: password === 'gost', user: 'id' }));
    await session.authenticate(gost);
    await session.authenticate({ ...gost, password: 'no' }).catch(() => undefined);
    expect(session.user).toBe('');
  });

  test('a client that leaves cancels the question, and no decision is told', async () => {
    const { session, close, events } = scene(
      (_ask, { signal }) =>
        new Promise((_resolve, reject) => {
          signal!.addEventListener('abort', () => reject(new PluginError('canceled', 'gone')));
        }),
    );
    const asked = session.authenticate(gost);
    close();
    await expect(asked).rejects.toMatchObject({ code: 'clientClosed' });
    expect(events).toEqual([]);
    await expect(session.authenticate(gost)).rejects.toMatchObject({ code: 'clientClosed' });
  });
});

describe('open', () => {
  test('dials exactly the canonical target', async () => {
    const dialled: unknown[] = [];
    const upstream = upstreamConn();
    const { session, events } = scene(undefined, (to) => {
      dialled.push(to);
      return Promise.resolve(upstream);
    });
    expect(await session.open({ host: '::ffff:127.0.0.2', port: 80 })).toBe(upstream);
    await expect(session.open({ host: '0x7f000001', port: 80 })).rejects.toMatchObject({
      code: 'malformedRequest',
    });
    expect(dialled).toEqual([{ host: '127.0.0.2', port: 80 }]);
    const target = { host: '127.0.0.2', port: 80 };
    expect(events).toMatchObject([
      { kind: 'dialing', target },
      { kind: 'dialed', target, path: [], error: undefined },
    ]);
  });

  test('a failure is told and thrown on; the client leaving cancels it', async () => {
    const refused = new ProxyError('dialFailed', 'upstream', 'refused');
    const failing = scene(undefined, () => Promise.reject(refused));
    await expect(failing.session.open({ host: 'a.test', port: 1 })).rejects.toBe(refused);
    expect(failing.events.at(-1)).toMatchObject({ kind: 'dialed', error: refused });
    const hanging = scene(
      undefined,
      (_to, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new ProxyError('clientClosed', 'client', 'gone')));
        }),
    );
    const opening = hanging.session.open({ host: 'a.test', port: 1 });
    hanging.close();
    await expect(opening).rejects.toMatchObject({ code: 'clientClosed' });
  });
});

describe('what a target goes through', () => {
  const yes = (answer: string[]) => () => answer;

  test('bypass before names are looked up, hosts before the resolver, each with all that is known', async () => {
    const asked: unknown[] = [];
    const note =
      <A>(module: string, answer: A) =>
      (ask: object) => {
        asked.push([module, ask]);
        return answer;
      };
    const { session, events } = scene(
      () => ({ ok: true, user: 'id' }),
      (to) => {
        asked.push(['dial', to]);
        return Promise.resolve(upstreamConn());
      },
      undefined,
      {
        bypass: { bypass: note('bypass', false) },
        hosts: { lookup: note('hosts', []) },
        resolver: { resolve: note('resolver', ['192.0.2.9', '192.0.2.10']) },
      },
    );
    await session.authenticate(gost);
    await session.open({ host: 'Example.COM.', port: 443 });
    const name = { network: 'ip', host: 'example.com', user: 'id' };
    expect(asked).toEqual([
      [
        'bypass',
        { target: 'example.com:443', user: 'id', network: 'tcp', host: '', path: '', service: 'front' },
      ],
      ['hosts', name],
      ['resolver', name],
      ['dial', { host: '192.0.2.9', port: 443 }],
    ]);
    expect(events.map(({ kind }) => kind)).toEqual([
      'decided',
      'decided',
      'dialing',
      'decided',
      'decided',
      'dialed',
    ]);
  });

  test('a rule’s no is 403, and nothing is dialled', async () => {
    const { session, decided } = scene(undefined, undefined, undefined, { bypass: { bypass: () => true } });
    await expect(session.open({ host: 'a.test', port: 1 })).rejects.toMatchObject({
      code: 'forbidden',
      status: 403,
    });
    expect(decided()).toMatchObject({ module: 'bypass', outcome: 'no', about: 'a.test:1' });
  });

  test.each([
    ['bypass', { bypass: { bypass: silent } }, 403],
    ['hosts', { hosts: { lookup: silent } }, 503],
    ['resolver', { resolver: { resolve: silent } }, 503],
  ])('%s that could not be asked refuses', async (module, settings, status) => {
    const { session, events } = scene(undefined, undefined, undefined, settings as Partial<SessionSettings>);
    await expect(session.open({ host: 'a.test', port: 1 })).rejects.toMatchObject({
      code: 'couldNotAsk',
      status,
    });
    expect(events.find(({ kind }) => kind === 'decided')).toMatchObject({ module, outcome: 'couldNotAsk' });
  });

  test('what a name turns out to be is held against rules that speak of addresses', async () => {
    const dialled: unknown[] = [];
    const { session } = scene(
      undefined,
      (to) => {
        dialled.push(to);
        return Promise.resolve(upstreamConn());
      },
      undefined,
      {
        hosts: { lookup: ({ host }) => (host === 'inside.test' ? ['127.0.0.2'] : ['192.0.2.1']) },
        refusesAddress: ({ host }) => (host.startsWith('127.') ? 'a rule' : undefined),
      },
    );
    await session.open({ host: 'outside.test', port: 1 });
    await expect(session.open({ host: 'inside.test', port: 1 })).rejects.toMatchObject({ code: 'forbidden' });
    expect(dialled).toEqual([{ host: '192.0.2.1', port: 1 }]);
  });

  test('no address is no route to system DNS', async () => {
    const { session } = scene(undefined, undefined, undefined, { resolver: { resolve: yes([]) } });
    await expect(session.open({ host: 'a.test', port: 1 })).rejects.toMatchObject({
      code: 'nameNotFound',
      status: 503,
    });
  });

  test('a target that cannot be reached is tried again as often as the handler says', async () => {
    let dials = 0;
    const refused = new ProxyError('dialFailed', 'upstream', 'refused', { retryable: true });
    const dial = () => (++dials < 3 ? Promise.reject(refused) : Promise.resolve(upstreamConn()));
    const patient = scene(undefined, dial, undefined, { retries: 2 });
    await patient.session.open({ host: 'a.test', port: 1 });
    expect(patient.events.filter(({ kind }) => kind === 'dialed')).toHaveLength(3);
    dials = 0;
    await expect(
      scene(undefined, dial, undefined, { retries: 1 }).session.open({ host: 'a.test', port: 1 }),
    ).rejects.toBe(refused);
  });

  test('one deadline covers all of it', async () => {
    const hanging: Way['dial'] = (_to, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(new ProxyError('clientClosed', 'client', String(signal.reason)));
        });
      });
    const { session } = scene(undefined, hanging, undefined, { dialTimeoutMs: 20 });
    await expect(session.open({ host: 'a.test', port: 1 })).rejects.toMatchObject({
      code: 'dialTimeout',
      message: 'no connection to a.test:1 within 0.02 s',
    });
  });

  test('a request too many is 429 before anybody is asked', async () => {
    const { session, events } = scene(undefined, undefined, undefined, { rate: { allow: () => false } });
    await expect(session.open({ host: 'a.test', port: 1 })).rejects.toMatchObject({
      code: 'tooManyRequests',
      status: 429,
    });
    expect(events).toEqual([]);
  });
});

describe('what happens beside a dial', () => {
  test('limits that cannot be had end what was opened, are told once, and are asked for again', async () => {
    let resets = 0;
    let asked = 0;
    const limits = {
      attach() {
        if (++asked === 1) return Promise.reject(new ProxyError('couldNotAsk', 'plugin', 'silent'));
        return Promise.resolve({ detach: () => undefined });
      },
    } as unknown as TrafficLimits;
    const { session, events } = scene(
      undefined,
      () => Promise.resolve({ ...upstreamConn(), reset: () => void resets++ }),
      undefined,
      { limits, retries: 3 },
    );
    await expect(session.open({ host: 'a.test', port: 1 })).rejects.toMatchObject({ code: 'couldNotAsk' });
    expect(resets).toBe(1);
    expect(events.filter(({ kind }) => kind === 'dialed')).toMatchObject([{ error: undefined }]);
    await session.open({ host: 'a.test', port: 1 });
    await session.open({ host: 'b.test', port: 1 });
    expect({ asked, resets }).toEqual({ asked: 2, resets: 1 });
  });

  test('who counts as somebody else is held to the limits of that one, and of nobody else', async () => {
    const held: string[] = [];
    const limits = {
      attach({ user }: { user: string }) {
        held.push(user);
        return Promise.resolve({ detach: () => void held.splice(held.indexOf(user), 1) });
      },
    } as unknown as TrafficLimits;
    const { session, close } = scene(undefined, () => Promise.resolve(upstreamConn()), undefined, { limits });
    const open = async (user: string) => {
      session.identify(user);
      await session.open({ host: 'a.test', port: 1 });
    };
    await open('one');
    await open('one');
    expect(held).toEqual(['one']);
    await open('two');
    expect(held).toEqual(['two']);
    await open('one');
    expect(held).toEqual(['one']);
    close();
    await new Promise(setImmediate);
    expect(held).toEqual([]);
  });

  test('the deadline ends what a chain asks', async () => {
    const chain: Chain = {
      name: 'c',
      route: (_request, _context, decider) =>
        decider.decide({
          module: 'hop',
          about: '',
          ask: ({ signal }) =>
            new Promise((_resolve, reject) => {
              signal!.addEventListener('abort', () => reject(new PluginError('canceled', 'too late')));
            }),
          tell: () => ({ outcome: 'yes', answer: '' }),
        }),
      close: () => Promise.resolve(),
    };
    const { session } = scene(undefined, undefined, undefined, { chain, dialTimeoutMs: 20 });
    await expect(session.open({ host: 'a.test', port: 1 })).rejects.toMatchObject({ code: 'dialTimeout' });
  });

  test('a selector that counts by the target is told it', async () => {
    const hashes: unknown[] = [];
    const chain: Chain = {
      name: 'c',
      route(request) {
        hashes.push(request.hash);
        return Promise.resolve({
          way: { dial: () => Promise.resolve(upstreamConn()) } as unknown as Way,
          path: [],
        });
      },
      close: () => Promise.resolve(),
    };
    for (const more of [{}, { hashBy: 'source' }, { hashBy: 'host' }] as const)
      await scene(undefined, undefined, undefined, { chain, ...more }).session.open({
        host: 'A.test',
        port: 1,
      });
    expect(hashes).toEqual([undefined, undefined, 'a.test:1']);
  });

  test.each([
    ['a node that cannot be reached has failed', 'dialFailed', 'upstream', 1],
    ['one of which nobody could be asked has not', 'couldNotAsk', 'plugin', 0],
  ] as const)('%s', async (_name, code, at, failures) => {
    let failed = 0;
    const forwarder: Forwarder = {
      select: () =>
        Promise.resolve({
          ...{ name: 'n', address: { host: '192.0.2.1', port: 1 }, http: undefined, tls: undefined },
          failed: () => void failed++,
          succeeded: () => undefined,
        }),
      close: () => Promise.resolve(),
    };
    const dial = () => Promise.reject(new ProxyError(code, at, 'no'));
    const { session } = scene(undefined, dial, undefined, { forwarder });
    await expect(session.forward()).rejects.toMatchObject({ code });
    expect(failed).toBe(failures);
  });

  test('datagrams in a connection that counts its bytes are counted once', async () => {
    const [theirs, ours] = memoryConnPair();
    const { session } = sessionOf(ours);
    session.begin(ours);
    const sent: string[] = [];
    let answer!: (data: Buffer, peer: Address) => void;
    const upstream = fakeDatagrams((data) => sent.push(String(data)));
    upstream.receive = (each) => (answer = each);
    const peer = { host: '192.0.2.1', port: 53 };
    const relayed = session.relay(createUdpTunnel(session.end as Conn, 'client'), upstream);
    const question = formatSocks5Frame({ address: peer, data: Buffer.from('who?') });
    await theirs.write(question);
    // The tunnel reads on when it has passed on what came.
    while (sent.length === 0) await new Promise((resolve) => setImmediate(resolve));
    answer(Buffer.from('me'), peer);
    const reply = await theirs.read();
    await theirs.end();
    await relayed;
    expect(sent).toEqual(['who?']);
    expect(session.traffic).toMatchObject({ received: question.length, sent: reply!.length });
  });
});

function sessionOf(end: Conn) {
  const session = new LiveSession(end, 's1', {
    ...{ service: 'front', publish: () => undefined, retries: 0, dialTimeoutMs: 1000, idleMs: 0 },
    direct: {} as Way,
    serve: () => Promise.resolve(),
  });
  return { session };
}

function fakeDatagrams(send: (data: Uint8Array) => void) {
  let close!: () => void;
  const closed = new Promise<void>((resolve) => (close = resolve));
  return {
    kind: 'datagrams' as const,
    local: { host: '', port: 0 },
    remote: { host: '', port: 0 },
    closed,
    close,
    receive: (_each: (data: Buffer, peer: Address) => void): void => undefined,
    send(data: Uint8Array) {
      send(data);
      return true;
    },
  };
}

function silent(): never {
  throw new PluginError('timeout', 'too slow');
}

test('a session is told once that its service stops', () => {
  const { session } = scene();
  const told: string[] = [];
  session.onStopping(() => told.push('first'))();
  session.onStopping(() => told.push('second'));
  session.stop();
  session.onStopping(() => told.push('late'));
  expect(told).toEqual(['second', 'late']);
  expect(session.stopping).toBe(true);
});
