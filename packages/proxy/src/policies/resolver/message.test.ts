import dnsPacket from 'dns-packet';
import type { Packet } from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { records, replyTo, soa } from './dns-server.fixture.ts';
import { createQuery, maxAddresses, readReply } from './message.ts';
import type { AddressType, Reply } from './message.ts';

const query = (name = 'a.example', type: AddressType = 'A') => {
  const made = createQuery(name, type);
  return { made, packet: dnsPacket.decode(made.bytes) };
};

const read = (parts: Parameters<typeof replyTo>[1], name?: string, type?: AddressType): Reply => {
  const { made, packet } = query(name, type);
  return readReply(replyTo(packet, parts), made);
};

const badReply = (what: RegExp) =>
  expect.objectContaining({ code: 'badReply', message: expect.stringMatching(what) as string });

describe('a question', () => {
  test('asks for recursion, and its id cannot be foreseen', () => {
    const ids = new Set(Array.from({ length: 50 }, () => createQuery('a.example', 'AAAA').id));
    expect(ids.size).toBeGreaterThan(40);
    expect(query('a.example', 'AAAA').packet).toMatchObject({
      type: 'query',
      flags: dnsPacket.RECURSION_DESIRED,
      questions: [{ name: 'a.example', type: 'AAAA', class: 'IN' }],
      additionals: [],
    });
  });

  test.each([
    ['203.0.113.77', '00011800cb0071'],
    ['2001:db8::77', '0002800020010db8000000000000000000000077'],
  ])('says that the client is at %s', (ip, hex) => {
    const [opt] = dnsPacket.decode(createQuery('a.example', 'A', ip).bytes).additionals!;
    expect(opt).toMatchObject({ type: 'OPT', udpPayloadSize: 1232, options: [{ code: 8 }] });
    expect(opt!.options![0]!.data!.toString('hex')).toBe(hex);
  });
});

describe('a reply', () => {
  test('has addresses in its order, and the least TTL of all that leads to them', () => {
    const answers = [
      { type: 'CNAME', name: 'a.example', ttl: 20, data: 'B.example' },
      { type: 'CNAME', name: 'b.example', ttl: 90, data: 'c.example' },
      ...records('c.EXAMPLE', ['192.0.2.2', '192.0.2.1'], 40),
    ];
    expect(read({ answers })).toMatchObject({
      code: 0,
      addresses: ['192.0.2.2', '192.0.2.1'],
      ttlMs: 20_000,
    });
    expect(read({ answers: answers.toReversed() }).addresses).toEqual(['192.0.2.1', '192.0.2.2']);
  });

  test.each<[string, string[], string[]]>([
    ['shortened', ['2001:0db8:0:0:0:0:0:1'], ['2001:db8::1']],
    ['as IPv4 where it is mapped', ['::ffff:192.0.2.1'], ['192.0.2.1']],
  ])('has IPv6 addresses %s', (_what, ips, expected) => {
    expect(read({ answers: records('a.example', ips) }, 'a.example', 'AAAA').addresses).toEqual(expected);
  });

  test('counts only records that answer the question', () => {
    const answers = [
      ...records('other.example', ['192.0.2.66']),
      ...records('a.example', ['2001:db8::66']),
      { type: 'TXT', name: 'a.example', ttl: 1, data: 'hello' },
      { type: 'A', class: 'CH', name: 'a.example', ttl: 1, data: '192.0.2.66' },
      ...records('a.example', ['192.0.2.1'], 7),
    ];
    const additionals = records('a.example', ['192.0.2.66']);
    expect(read({ answers, additionals, authorities: additionals })).toMatchObject({
      addresses: ['192.0.2.1'],
      ttlMs: 7000,
    });
  });

  test('holds for a day at most, and not at all with a TTL that is no number', () => {
    expect(read({ answers: records('a.example', ['192.0.2.1'], 1e6) }).ttlMs).toBe(86_400_000);
    expect(read({ answers: records('a.example', ['192.0.2.1'], 0x80000000) }).ttlMs).toBe(0);
  });

  test('has no more addresses than anybody tries', () => {
    const ips = Array.from({ length: 100 }, (_, index) => `192.0.2.${String(index)}`);
    expect(read({ answers: records('a.example', ips) }).addresses).toEqual(ips.slice(0, maxAddresses));
  });

  test.each([
    [soa(30), 30_000],
    [soa(3600, 5), 5000],
    [soa(0), 0],
  ])('that there is none holds as long as the SOA record says', (record, denialTtlMs) => {
    expect(read({ code: 3, authorities: [record] })).toMatchObject({ code: 3, addresses: [], denialTtlMs });
    expect(read({ code: 3 }).denialTtlMs).toBe(0);
  });

  test('of a server that only names others is known as one', () => {
    const ns = { type: 'NS', name: 'example', ttl: 1, data: 'ns.example' };
    expect(read({ authorities: [ns] }).referral).toBe(true);
    expect(read({ authorities: [ns, soa(1)] }).referral).toBe(false);
    expect(read({ code: 3, authorities: [ns] }).referral).toBe(false);
  });

  test('has the upper bits of its code in EDNS', () => {
    const additionals = [{ type: 'OPT', name: '.', extendedRcode: 1 }];
    expect(read({ additionals }).code).toBe(16);
  });

  test('that is truncated is not looked into', () => {
    const { made, packet } = query();
    const whole = replyTo(packet, {
      truncated: true,
      answers: records('a.example', ['192.0.2.1', '192.0.2.2']),
    });
    expect(readReply(whole.subarray(0, -7), made)).toMatchObject({ truncated: true, addresses: [] });
  });

  test('of a server that understood nothing may be a header alone', () => {
    const { made, packet } = query();
    expect(readReply(replyTo(packet, { code: 1, questions: [] }), made).code).toBe(1);
    for (const code of [0, 3]) {
      expect(() => readReply(replyTo(packet, { code, questions: [] }), made)).toThrow(
        badReply(/another question/),
      );
    }
  });

  test('may write the name in other capitals', () => {
    const { made, packet } = query();
    const questions = [{ name: 'A.eXaMPle', type: 'A' }];
    const reply = replyTo(packet, { questions, answers: records('A.eXaMPle', ['192.0.2.1']) });
    expect(readReply(reply, made).addresses).toEqual(['192.0.2.1']);
  });

  const twoQuestions = [
    { name: 'a.example', type: 'A' },
    { name: 'a.example', type: 'A' },
  ];
  test.each<[string, Packet, RegExp]>([
    ['with another id', { id: 1 }, /another question/],
    ['to another name', { questions: [{ name: 'b.example', type: 'A' }] }, /another question/],
    ['to another type', { questions: [{ name: 'a.example', type: 'AAAA' }] }, /another question/],
    ['to another class', { questions: [{ name: 'a.example', type: 'A', class: 'CH' }] }, /another question/],
    ['to two questions', { questions: twoQuestions }, /another question/],
    ['that is a question', { type: 'query' }, /question itself/],
    ['to a NOTIFY', { flags: 0x2000 }, /another kind/],
    [
      'whose aliases go in a circle',
      {
        answers: [
          { type: 'CNAME', name: 'a.example', data: 'b.example' },
          { type: 'CNAME', name: 'b.example', data: 'a.example' },
        ],
      },
      /circle/,
    ],
    [
      'whose aliases go on and on',
      {
        answers: Array.from({ length: 18 }, (_, index) => ({
          type: 'CNAME',
          name: index === 0 ? 'a.example' : `${String(index)}.example`,
          data: `${String(index + 1)}.example`,
        })).concat({ type: 'A', name: '18.example', data: '192.0.2.1' }),
      },
      /on and on/,
    ],
    [
      'with too many records',
      { answers: Array.from({ length: 513 }, () => ({ type: 'A', name: 'a.example', data: '192.0.2.1' })) },
      /more than 512/,
    ],
  ])('%s is none', (_what, parts, why) => {
    const { made, packet } = query();
    // An id of 1 must be another one.
    if (made.id === 1) return;
    expect(() => readReply(replyTo(packet, parts), made)).toThrow(badReply(why));
  });

  test.each([
    ['an address of a wrong size', [1, 0, 5]],
    ['an alias of a wrong size', [5, 0, 9]],
    ['data beyond its end', [1, 0, 200]],
  ])('with %s is none', (_what, [type, high, low]) => {
    const { made, packet } = query();
    const record = Buffer.from([
      0xc0,
      12,
      0,
      type!,
      0,
      1,
      0,
      0,
      0,
      1,
      high!,
      low!,
      1,
      98,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
    ]);
    const head = replyTo(packet);
    head.writeUInt16BE(1, 6);
    expect(() => readReply(Buffer.concat([head, record]), made)).toThrow(badReply(/wrong size|cut short/));
  });

  test('that points to itself over and over costs next to nothing', () => {
    const { made, packet } = query();
    const head = replyTo(packet);
    // One record whose data are thousands of pointers, each to the one before, and 500 names that go through all of them.
    const pointers = Buffer.alloc(16_000);
    const at = head.length + 11;
    for (let index = 0; index < 8000; index++) {
      pointers.writeUInt16BE(0xc000 | (index === 0 ? 12 : at + 2 * (index - 1)), 2 * index);
    }
    const unknown = Buffer.concat([Buffer.from([0, 0xff, 0, 0, 1, 0, 0, 0, 1, 0x3e, 0x80]), pointers]);
    const last = 0xc000 | (at + 2 * 7999);
    const name = Buffer.from([last >> 8, last & 255, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1]);
    head.writeUInt16BE(501, 6);
    const bytes = Buffer.concat([head, unknown, ...Array.from({ length: 500 }, () => name)]);
    const start = performance.now();
    expect(() => readReply(bytes, made)).toThrow(badReply(/spread all over/));
    expect(performance.now() - start).toBeLessThan(100);
  });
});

describe('garbage', () => {
  const tryRead = (bytes: Buffer, made: ReturnType<typeof createQuery>) => {
    try {
      const reply = readReply(bytes, made);
      for (const address of reply.addresses) expect(address).toMatch(/^[\d.]+$|:/);
    } catch (error) {
      expect(error).toMatchObject({ name: 'PluginError', code: 'badReply' });
    }
  };

  test('behind the right header and question is an answer or an error', () => {
    const { made, packet } = query();
    const head = replyTo(packet);
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5)),
        fc.nat(15),
        (tail, counts, code) => {
          const bytes = Buffer.concat([head, tail]);
          bytes[3] = code;
          counts.forEach((count, index) => bytes.writeUInt16BE(count, 6 + 2 * index));
          tryRead(bytes, made);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('in a good reply, or a part of one, is an answer or an error', () => {
    const { made, packet } = query();
    const good = replyTo(packet, {
      answers: [
        { type: 'CNAME', name: 'a.example', ttl: 20, data: 'b.example' },
        ...records('b.example', ['192.0.2.1']),
      ],
      authorities: [soa(10)],
      additionals: [{ type: 'OPT', name: '.' }],
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(good.length),
        (changes, length) => {
          const bytes = Buffer.from(good);
          for (const [at, byte] of changes) bytes[at] = byte;
          tryRead(bytes.subarray(0, length), made);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
