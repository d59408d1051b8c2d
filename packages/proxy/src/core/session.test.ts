import { PluginError } from '@sallyport/plugin';
import type { CallEvent, Policy } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import type { Conn, PeerTls } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { AuthDecided, SessionEvent } from './events.ts';
import { createSession } from './session.ts';
import type { AuthMethods } from './session.ts';
import type { Way } from './way.ts';

/** A connection that carries nothing and ends when told to. */
function fakeConn(tls?: PeerTls): { conn: Conn; close: () => void } {
  let close!: () => void;
  const closed = new Promise<void>((resolve) => (close = resolve));
  const conn = { remote: { host: '192.0.2.7', port: 4711 }, closed, tls } as unknown as Conn;
  return { conn, close };
}

function scene(authenticate?: Policy<AuthMethods>['authenticate'], dial?: Way['dial'], tls?: PeerTls) {
  const { conn, close } = fakeConn(tls);
  const events: SessionEvent[] = [];
  const session = createSession(conn, {
    service: 'front',
    authenticate: authenticate && { authenticate },
    way: { dial: dial ?? (() => Promise.reject(new Error('not dialled'))) } as Way,
    publish: (_session, event) => events.push(event),
  });
  return { session, close, events, decided: () => events.at(-1) as AuthDecided };
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
      expect(decided()).toMatchObject({ outcome: 'yes', username: 'gost', user: 'id-1' });
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
    expect(no.decided()).toMatchObject({ outcome: 'no', user: '' });
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
    const upstream = {} as Conn;
    const { session, events } = scene(undefined, (to) => {
      dialled.push(to);
      return Promise.resolve(upstream);
    });
    expect(await session.open({ host: '::ffff:127.0.0.2', port: 80 })).toBe(upstream);
    await expect(session.open({ host: '0x7f000001', port: 80 })).rejects.toMatchObject({
      code: 'malformedRequest',
    });
    expect(dialled).toEqual([{ host: '127.0.0.2', port: 80 }]);
    expect(events).toMatchObject([{ kind: 'dialed', target: { host: '127.0.0.2' }, error: undefined }]);
  });

  test('a failure is told and thrown on; the client leaving cancels it', async () => {
    const refused = new ProxyError('dialFailed', 'upstream', 'refused');
    const failing = scene(undefined, () => Promise.reject(refused));
    await expect(failing.session.open({ host: 'a.test', port: 1 })).rejects.toBe(refused);
    expect(failing.events).toMatchObject([{ kind: 'dialed', error: refused }]);
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
