import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProxyError } from '../errors.ts';
import { memoryConnPair } from '../memory-conn.fixture.ts';
import { readClientHello, sniffFirstBytes } from './first-bytes.ts';
import { PeekedConn } from './peeked-conn.ts';

function scene() {
  const [peer, conn] = memoryConnPair({ sides: ['upstream', 'client'] });
  return { peer, conn, peeked: new PeekedConn(conn) };
}

async function readAll(conn: { read(): Promise<Buffer | null> }): Promise<string> {
  let text = '';
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read())
    text += bytes.toString('latin1');
  return text;
}

describe('a connection that is peeked at', () => {
  test('gives what came to whoever reads, also after a wait that was given up', async () => {
    const { peer, peeked } = scene();
    expect(await peeked.stirredWithin(1)).toBe(false);
    await peer.write(Buffer.from('a'));
    expect(await peeked.stirredWithin(1000)).toBe(true);
    await peeked.stirred();
    peeked.unread(Buffer.from('0'));
    await peer.write(Buffer.from('b'));
    await peer.end();
    expect(await readAll(peeked)).toBe('0ab');
    expect(await peeked.read()).toBeNull();
  });

  test('is the one below again where nothing is under way', async () => {
    const { peer, conn, peeked } = scene();
    await peer.write(Buffer.from('b'));
    await peeked.stirred();
    peeked.unread(Buffer.from('2'));
    peeked.unread(Buffer.from('1'));
    expect(peeked.settle()).toBe(conn);
    await peer.end();
    expect(await readAll(conn)).toBe('12b');
  });

  test('stays where a read is under way, and loses nothing', async () => {
    const { peer, peeked } = scene();
    await peeked.stirredWithin(1);
    const settled = peeked.settle();
    expect(settled).toBe(peeked);
    await peer.write(Buffer.from('x'));
    await peer.end();
    expect(await readAll(settled)).toBe('x');
  });

  test('a reset is an error for whoever reads', async () => {
    const { peer, peeked } = scene();
    const stirred = peeked.stirred();
    peer.reset();
    await stirred;
    await expect(peeked.read()).rejects.toBeInstanceOf(ProxyError);
  });
});

/** A ClientHello as Node sends it. */
const hello = Buffer.from(
  '160301004b010000470303' +
    '00'.repeat(32) +
    '00000213010100001c' +
    // server_name: a.test; then a list of versions.
    '0000000b000900000661' +
    '2e74657374' +
    '002b0003020304' +
    '00170000' +
    'ff0100',
  'hex',
);

describe('first bytes', () => {
  test('are left where they are, however they are split', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(
          'GET / HTTP/1.1\r\n',
          'SSH-2.0-x',
          '\x05\x01\x00',
          'GETTING',
          'PROPFIND /',
          '\x16\x03\x01\x00',
        ),
        fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 5 }),
        async (text, cuts) => {
          const { peer, peeked } = scene();
          const at = [0, ...cuts.sort((a, b) => a - b).filter((cut) => cut < text.length), text.length];
          const whole = scene();
          await whole.peer.write(Buffer.from(text, 'latin1'));
          await whole.peer.end();
          const expected = await sniffFirstBytes(whole.peeked, 1000);
          const sniffed = sniffFirstBytes(peeked, 1000);
          for (const [index, from] of at.slice(0, -1).entries()) {
            await peer.write(Buffer.from(text.slice(from, at[index + 1]), 'latin1'));
          }
          await peer.end();
          expect(await sniffed).toBe(expected);
          expect(await readAll(peeked.settle())).toBe(text);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('silence, an end, and a beginning of nothing', async () => {
    const silent = scene();
    expect(await sniffFirstBytes(silent.peeked, 1)).toBe('silent');
    await silent.peer.end();
    expect(await sniffFirstBytes(silent.peeked, 1000)).toBe('ended');
    const begun = scene();
    await begun.peer.write(Buffer.from('GE'));
    expect(await sniffFirstBytes(begun.peeked, 1000, 5)).toBe('unfinished');
    await begun.peer.end();
    expect(await readAll(begun.peeked)).toBe('GE');
  });

  test.each([
    ['\r\nGET / HTTP/1.1\r\n', 'http'],
    ['FROB /x HTTP/1.1\r\n', 'http'],
    ['-X / HTTP/1.1\r\n', 'http'],
    ['SSH-2 / HTTP/1.1\r\n', 'http'],
    ['EHLO x\r\n', 'unknown'],
    ['a1 LOGIN u p\n', 'unknown'],
    ['*1\r\n$4\r\nPING\r\n', 'redis'],
    ['SSH-2.0-x y\r\n', 'ssh'],
    ['\x00\x01', 'unknown'],
    ['EHLO', 'unfinished'],
    ['SSH-2.0', 'unfinished'],
    ['\r\n', 'unfinished'],
    ['\x16\x03', 'unfinished'],
  ])('%j is %s', async (text, first) => {
    const { peer, peeked } = scene();
    await peer.write(Buffer.from(text, 'latin1'));
    expect(await sniffFirstBytes(peeked, 1000, 5)).toBe(first);
  });

  test('a ClientHello that stops, or is none, is an error, and garbage never anything else', async () => {
    const stopped = scene();
    await stopped.peer.write(hello.subarray(0, 20));
    await expect(readClientHello(stopped.peeked, 5)).rejects.toMatchObject({ code: 'handshakeTimeout' });
    await stopped.peer.end();
    await expect(readClientHello(stopped.peeked, 1000)).rejects.toMatchObject({ code: 'malformedRequest' });
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (garbage) => {
        const { peer, peeked } = scene();
        await peer.write(hello.subarray(0, 9));
        await peer.write(garbage);
        await peer.end();
        const error: unknown = await readClientHello(peeked, 1000).catch((cause: unknown) => cause);
        expect(error).toBeInstanceOf(ProxyError);
      }),
      { numRuns: 200 },
    );
  });
});
