import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatAddress } from './address.ts';
import { associate } from './association.ts';
import type { AssociationRules } from './association.ts';
import type { Address } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { ProxyError } from './errors.ts';

const forbidden = new ProxyError('forbidden', 'client', 'no');
const peer = (host: string, port = 53): Address => ({ host, port });

/** An association over a place that writes down what is sent; `arrive` is what comes in from there. */
function scene(more: Partial<AssociationRules> = {}) {
  const sent: string[] = [];
  const heard: string[] = [];
  const asked: string[] = [];
  let arrive!: (data: Buffer, from: Address) => void;
  let nowMs = 0;
  const under: Datagrams = {
    ...{ kind: 'datagrams', local: peer('192.0.2.99'), remote: peer('', 0) },
    closed: new Promise(() => undefined),
    receive: (each) => (arrive = each),
    send: (data, to) => sent.push(`${formatAddress(to!)} ${String(data)}`) > 0,
    close: () => sent.push('closed'),
  };
  const { check = () => Promise.resolve() } = more;
  const association = associate(
    under,
    {
      resolve: (to) => Promise.resolve(to),
      refuses: () => undefined,
      ...more,
      check(to) {
        asked.push(formatAddress(to));
        return check(to);
      },
    },
    () => nowMs,
  );
  association.receive((data, from) => heard.push(`${formatAddress(from)} ${String(data)}`));
  return {
    ...{ association, sent, heard, asked },
    send: (to: Address, text: string) => association.send(Buffer.from(text), to),
    arrive: (from: Address, text: string) => {
      arrive(Buffer.from(text), from);
    },
    pass: (ms: number) => (nowMs += ms),
  };
}

/** Everything that has been decided has had its effect. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('an association', () => {
  test('asks about each peer once; its answers need no question', async () => {
    const { send, arrive, sent, heard, asked } = scene();
    for (const text of ['1', '2']) send(peer('192.0.2.1'), text);
    expect(sent).toEqual([]);
    await settled();
    send(peer('::ffff:192.0.2.1'), '3');
    await settled();
    arrive(peer('192.0.2.1'), 'a');
    expect(sent).toEqual(['192.0.2.1:53 1', '192.0.2.1:53 2', '192.0.2.1:53 3']);
    expect(heard).toEqual(['192.0.2.1:53 a']);
    expect(asked).toEqual(['192.0.2.1:53', '192.0.2.1:53']);
  });

  test('hears a stranger only after it was asked about, by its canonical address', async () => {
    const { arrive, heard, asked } = scene({
      check: ({ host }) => (host === '192.0.2.66' ? Promise.reject(forbidden) : Promise.resolve()),
    });
    arrive(peer('::ffff:192.0.2.66'), 'bad');
    arrive(peer('192.0.2.7'), 'good');
    arrive(peer('', 0), 'nobody');
    await settled();
    arrive(peer('192.0.2.66'), 'bad again');
    await settled();
    expect(heard).toEqual(['192.0.2.7:53 good']);
    expect(asked).toEqual(['192.0.2.66:53', '192.0.2.7:53', '192.0.2.66:53']);
  });

  test('what a name turns out to be may answer for as long as the name may be asked', async () => {
    // A whitelist of names.
    const { send, arrive, heard, asked, pass } = scene({
      check: ({ host }) => (host === 'a.test' ? Promise.resolve() : Promise.reject(forbidden)),
      resolve: () => Promise.resolve(peer('192.0.2.1')),
    });
    arrive(peer('192.0.2.1'), 'too early');
    await settled();
    send(peer('A.test.'), 'hello');
    await settled();
    arrive(peer('192.0.2.1'), '1');
    arrive(peer('192.0.2.2'), 'another');
    await settled();
    for (let minute = 2; minute < 5; minute++) {
      pass(61_000);
      arrive(peer('192.0.2.1'), String(minute));
      await settled();
    }
    expect(heard.map((line) => line.split(' ')[1])).toEqual(['1', '2', '3', '4']);
    expect(asked.filter((about) => about === '192.0.2.1:53')).toHaveLength(1);
  });

  test('an address that a rule refuses is not sent to, whatever the name', async () => {
    const { send, sent } = scene({
      resolve: () => Promise.resolve(peer('127.0.0.1')),
      refuses: ({ host }) => (host === '127.0.0.1' ? forbidden : undefined),
    });
    send(peer('a.test'), 'x');
    await settled();
    expect(send(peer('a.test'), 'y')).toBe(false);
    expect(sent).toEqual([]);
  });

  test('where only a node knows the name, its port may answer, but not from an address that is refused', async () => {
    const { send, arrive, heard } = scene({
      check: ({ host }) => (host === 'a.test' ? Promise.resolve() : Promise.reject(forbidden)),
      refuses: ({ host }) => (host === '192.0.2.66' ? forbidden : undefined),
    });
    send(peer('a.test'), 'hello');
    await settled();
    arrive(peer('192.0.2.1'), 'yes');
    arrive(peer('192.0.2.1', 54), 'another port');
    arrive(peer('192.0.2.66'), 'refused');
    await settled();
    expect(heard).toEqual(['192.0.2.1:53 yes']);
  });

  test('that nobody could be asked is found out again soon, a no is kept', async () => {
    let down = true;
    const { send, sent, asked, pass } = scene({
      check: ({ host }) => {
        if (host === '192.0.2.66') return Promise.reject(forbidden);
        return down ? Promise.reject(new ProxyError('couldNotAsk', 'plugin', 'silent')) : Promise.resolve();
      },
    });
    const both = async (text: string) => {
      send(peer('192.0.2.1'), text);
      send(peer('192.0.2.66'), text);
      await settled();
    };
    await both('1');
    await both('2');
    down = false;
    pass(1001);
    await both('3');
    expect(sent).toEqual(['192.0.2.1:53 3']);
    expect(asked.filter((about) => about.includes('.66'))).toHaveLength(1);
    pass(60_001);
    await both('4');
    expect(asked.filter((about) => about.includes('.66'))).toHaveLength(2);
  });

  test('keeps a bounded number of datagrams and bytes waiting', async () => {
    const decide: (() => void)[] = [];
    const { send, sent } = scene({ check: () => new Promise((resolve) => decide.push(resolve)) });
    const taken = Array.from({ length: 20 }, (_, i) => send(peer('192.0.2.1'), String(i)));
    expect(taken.filter(Boolean)).toHaveLength(16);
    const large = 'x'.repeat(60_000);
    const others = Array.from({ length: 10 }, (_, i) => send(peer(`192.0.2.${String(i + 2)}`), large));
    expect(others.filter(Boolean)).toHaveLength(4);
    for (const yes of decide) yes();
    await settled();
    expect(sent).toHaveLength(20);
    expect(send(peer('192.0.2.200'), large)).toBe(true);
  });

  test('memory may be used again at once, and nothing is an error that is no address', async () => {
    const { association, sent, send } = scene();
    const bytes = Buffer.from('first');
    association.send(bytes, peer('192.0.2.1'));
    bytes.fill('z');
    for (const bad of [
      peer('', 1),
      peer('a b'),
      peer('0x7f000001'),
      peer('192.0.2.1', 0),
      peer('192.0.2.1', 70_000),
    ])
      send(bad, 'x');
    await settled();
    expect(sent).toEqual(['192.0.2.1:53 first']);
    association.close();
    expect(sent.at(-1)).toBe('closed');
  });

  test('never passes anything to or from a peer that is refused, whatever the order', async () => {
    const hosts = ['192.0.2.1', '192.0.2.2', 'a.test', 'b.test', '::ffff:192.0.2.2', 'A.TEST'];
    const addressOf: Readonly<Record<string, string>> = { 'a.test': '192.0.2.1', 'b.test': '192.0.2.3' };
    const step = fc.record({
      what: fc.constantFrom('send', 'arrive', 'decide', 'wait'),
      host: fc.nat(hosts.length - 1),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.subarray(['192.0.2.1', '192.0.2.2', '192.0.2.3']),
        async (steps, refused) => {
          const open: (() => void)[] = [];
          const { send, arrive, sent, heard, pass } = scene({
            check: ({ host }) =>
              new Promise((resolve, reject) => {
                open.push(() => {
                  if (refused.includes(host)) reject(forbidden);
                  else resolve();
                });
              }),
            resolve: (to) => Promise.resolve(peer(addressOf[to.host] ?? to.host, to.port)),
            refuses: ({ host }) => (refused.includes(host) ? forbidden : undefined),
          });
          for (const [i, { what, host }] of steps.entries()) {
            if (what === 'send') send(peer(hosts[host]!), String(i));
            else if (what === 'arrive') arrive(peer(hosts[host % 2]!), String(i));
            else if (what === 'wait') pass(30_000);
            else open.splice(host % Math.max(1, open.length), 1)[0]?.();
            await Promise.resolve();
          }
          while (open.length > 0) {
            for (const decide of open.splice(0)) decide();
            await settled();
          }
          for (const line of [...sent, ...heard])
            expect(refused.some((host) => line.startsWith(`${host}:`))).toBe(false);
          // Nor is anything passed on twice.
          expect(new Set(sent).size).toBe(sent.length);
          expect(new Set(heard).size).toBe(heard.length);
        },
      ),
      { numRuns: 200 },
    );
  });
});
