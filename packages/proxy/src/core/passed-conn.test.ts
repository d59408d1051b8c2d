import { describe, expect, test } from 'vitest';
import type { Ends } from './conn.ts';
import { memoryConnPair } from './memory-conn.fixture.ts';
import { PassedConn } from './passed-conn.ts';

const ends: Ends = {
  local: { host: '192.0.2.10', port: 1 },
  remote: { host: '192.0.2.11', port: 2 },
  tls: { verified: true, commonName: 'a', subjectAltNames: ['a.test'], fingerprint: 'ab' },
  wanted: { host: 'wanted.test', port: 3 },
  via: { host: '192.0.2.12', port: 4 },
};

/** Says everything it writes in capitals. */
class Shouted extends PassedConn {
  override write(bytes: Uint8Array): Promise<void> {
    return super.write(Buffer.from(String(bytes).toUpperCase()));
  }
}

function scene(own: Partial<Ends> = ends) {
  const [under, peer] = memoryConnPair({ ends: [own, {}] });
  return { under, peer, conn: new Shouted(under) };
}

describe('a connection that passes on', () => {
  test('says what the one beneath says, and does not give its socket away', () => {
    const { conn, under } = scene();
    const { local, remote, tls, wanted, via } = conn;
    expect({ local, remote, tls, wanted, via }).toEqual(ends);
    expect(conn.under).toBe(under);
    expect(conn.closed).toBe(under.closed);
    expect('detach' in conn).toBe(false);
    const plain = scene({}).conn;
    expect([plain.tls, plain.wanted, plain.via]).toEqual([undefined, undefined, undefined]);
  });

  test('says of its ends what it was told to', () => {
    const { under } = scene();
    const { local, remote } = scene({}).under;
    const conn = new PassedConn(under, { local, remote });
    expect([conn.local, conn.remote, conn.tls, conn.wanted, conn.via]).toEqual([
      local,
      remote,
      ...Array<undefined>(3),
    ]);
  });

  test('reads, puts back, writes and half-closes the one beneath', async () => {
    const { conn, under, peer } = scene();
    await peer.write(Buffer.from('hello'));
    const read = (await conn.read())!;
    conn.unread(read.subarray(2));
    expect(String(await under.read())).toBe('llo');
    await conn.write(Buffer.from('you'));
    expect(String(await peer.read())).toBe('YOU');
    await conn.end();
    expect(await peer.read()).toBeNull();
    await peer.end();
    expect(await conn.read()).toBeNull();
    await conn.closed;
  });

  test('resets the one beneath', async () => {
    const { conn, under, peer } = scene();
    conn.reset();
    await conn.closed;
    expect([under.isReset, peer.isReset]).toEqual([true, true]);
    await expect(conn.read()).rejects.toMatchObject({ code: 'clientClosed' });
    await expect(conn.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'clientClosed' });
  });

  test('is a stream of what it has become, once', async () => {
    const { conn, under, peer } = scene();
    const { stream } = conn;
    expect(conn.stream).toBe(stream);
    expect(under.stream).not.toBe(stream);
    stream.end('loud');
    expect(String(await peer.read())).toBe('LOUD');
    expect(await peer.read()).toBeNull();
  });
});
