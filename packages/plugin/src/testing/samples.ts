import type { AnyMethod, AnswerOf, AskOf, Contract, Int64, Methods } from '../contract.ts';
import { decodeMessage, encodeMessage } from '../wire/proto.ts';
import type { Field, MessageType } from '../wire/proto.ts';
import { knownText, knownValue } from './sample-values.ts';
import type { SampleKind } from './sample-values.ts';

/** One question of a method and an answer to it, in our words, as both arrive after a journey over the wire. */
export interface Sample<Ask = unknown, Answer = unknown> {
  /** `every field`, `unicode`, `2^53`, `only client`, … */
  readonly name: string;
  readonly ask: Ask;
  readonly answer: Answer;
}

const mixedText = [
  'naïve Grüße, žluťoučký kůň, 東京, Ελλάδα',
  // Beyond the first plane, joined, combined, and right to left.
  '🦊👩‍👩‍👧 𝔘 e\u0301 שלום \u202eabc\u202c',
  // What JSON, URLs, HTML and line ends make special, and controls that both wires can carry.
  `"quoted" 'too' \\ / <a href="?x=1&y=%20+#z">; \r\n\t\u0001\u007f\u0085\u2028\u2029\ufeff end `,
].join(' | ');

const largeTextLength = 64 * 1024;
// A query stands in the request line, of which servers commonly take 8 KiB.
const largeQueryTextLength = 2_000;
const largeBytesLength = 512 * 1024;
const manyCount = 100;

const integers: Partial<Readonly<Record<SampleKind, Readonly<Record<'int64' | 'uint64' | 'int32', Int64>>>>> =
  {
    '2^53 - 1': { int64: 2 ** 53 - 1, uint64: 2 ** 53 - 1, int32: 2 ** 31 - 2 },
    '2^53': { int64: 2n ** 53n, uint64: 2n ** 53n, int32: 2 ** 31 - 1 },
    '2^53 + 1': { int64: 2n ** 53n + 1n, uint64: 2n ** 53n + 1n, int32: 2 ** 30 },
    'greatest integers': { int64: 2n ** 63n - 1n, uint64: 2n ** 64n - 1n, int32: 2 ** 31 - 1 },
    'least integers': { int64: -(2n ** 63n), uint64: 1, int32: -(2 ** 31) },
  };

/** Where a value of a sample stands. */
interface Place {
  readonly kind: SampleKind;
  /** `proto.Event.type` */
  readonly path: string;
  /** Among its siblings, from 0. */
  readonly index: number;
  readonly isQuery: boolean;
}

function integerOf(type: 'int64' | 'uint64' | 'int32', { kind }: Place, seed: number): Int64 {
  return integers[kind]?.[type] ?? 1_000 + seed;
}

function textOf(name: string, { kind, isQuery, index }: Place): string {
  const which = index === 0 ? name : `${name}-${index}`;
  if (kind === 'unicode') return `${which} ${mixedText}`;
  if (kind === 'large')
    return `${which} `.padEnd(isQuery ? largeQueryTextLength : largeTextLength, 'äöü-abc ');
  return `the ${which}`;
}

function bytesOf(name: string, { kind }: Place): Buffer {
  if (kind === 'large') return Buffer.alloc(largeBytesLength, Buffer.from([...name].map((_, i) => i * 37)));
  // Every byte that there is, so that no text encoding can carry it unnoticed.
  if (kind === 'unicode') return Buffer.from(Array.from({ length: 256 }, (_, i) => 255 - i));
  return Buffer.from(`the ${name}`);
}

function valueOf(field: Field, place: Place): unknown {
  const known = knownValue(place.path, place.kind, place.index);
  if (known !== undefined) return known;
  const { type, number, name } = field;
  if (typeof type !== 'string') return messageOf(type, place);
  switch (type) {
    case 'string':
      return knownText(place.path, place.kind, place.index) ?? textOf(name, place);
    case 'bool':
      return true;
    case 'bytes':
      return bytesOf(name, place);
    default:
      return integerOf(type, place, 10 * place.index + number);
  }
}

function messageOf(type: MessageType<object>, at: Omit<Place, 'path'>, only?: string): object {
  const message: Record<string, unknown> = decodeMessage<Record<string, unknown>>(
    type as MessageType<Record<string, unknown>>,
    Buffer.alloc(0),
  );
  if (at.kind === 'empty') return message;
  for (const field of type.fields) {
    if (only !== undefined && field.name !== only) continue;
    const path = `${type.typeName}.${field.name}`;
    const count = at.kind === 'lists of many' ? manyCount : 1;
    message[field.name] = field.repeated
      ? Array.from({ length: count }, (_, index) => valueOf(field, { ...at, path, index }))
      : valueOf(field, { ...at, path });
  }
  return message;
}

const kinds: readonly SampleKind[] = [
  'empty',
  'every field',
  'other values',
  'lists of many',
  'unicode',
  'large',
  '2^53 - 1',
  '2^53',
  '2^53 + 1',
  'greatest integers',
  'least integers',
];

/**
 * Derives samples of one method from its tables and its mapping: all fields empty; all filled, each with a value of its own,
 * so that two that are mixed up are noticed; one field alone; texts with characters of every kind; large ones; integers about
 * 2^53 and at the ends of their types; lists of none, one and many. Kinds that make no difference for a method are left
 * out. A transport that is right carries each ask and each answer so that both arrive deep-equal to the sample's.
 */
export function samplesOf<M extends Methods, K extends keyof M & string>(
  contract: Contract<M>,
  name: K,
): readonly Sample<AskOf<M[K]>, AnswerOf<M[K]>>[] {
  const method: AnyMethod = contract.methods[name]!;
  const { request: requestType, reply: replyType, http } = method;
  const samples: Sample<AskOf<M[K]>, AnswerOf<M[K]>>[] = [];
  const seen = new Set<string>();
  const add = (sample: string, request: object, reply: object): void => {
    const asked = encodeMessage(requestType, request);
    const answered = encodeMessage(replyType, reply);
    const key = `${Buffer.from(asked).toString('base64')} ${Buffer.from(answered).toString('base64')}`;
    if (seen.has(key)) return;
    seen.add(key);
    samples.push(sampleOf(method, sample, asked, answered) as Sample<AskOf<M[K]>, AnswerOf<M[K]>>);
  };
  const request = (kind: SampleKind, only?: string): object =>
    messageOf(requestType, { kind, index: 0, isQuery: http.verb === 'GET' }, only);
  const reply = (kind: SampleKind, only?: string): object =>
    messageOf(replyType, { kind, index: 0, isQuery: false }, only);

  for (const kind of kinds) add(kind, request(kind), reply(kind));
  for (const field of requestType.fields)
    add(`only ${field.name}`, request('every field', field.name), reply('empty'));
  for (const field of replyType.fields)
    add(`answer with only ${field.name}`, request('empty'), reply('every field', field.name));
  return samples;
}

/** The sample with every field filled; what is said where any good question or answer will do. */
export function typicalSample(contract: Contract, name: string): Sample {
  const { request, reply, http } = contract.methods[name]!;
  const kind = 'every field';
  return sampleOf(
    contract.methods[name]!,
    kind,
    encodeMessage(request, messageOf(request, { kind, index: 0, isQuery: http.verb === 'GET' })),
    encodeMessage(reply, messageOf(reply, { kind, index: 0, isQuery: false })),
  );
}

/** A sample of two messages. They come from the wire, so that values are exactly those that a decoder makes. */
function sampleOf(method: AnyMethod, name: string, asked: Uint8Array, answered: Uint8Array): Sample {
  const { request, reply, wire } = method;
  const ask: unknown = wire.ask(decodeMessage(request, asked));
  return { name, ask, answer: wire.answer(decodeMessage(reply, answered), ask) as unknown };
}
