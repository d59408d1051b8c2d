import type { AnyMethod, AnswerOf, AskOf, Contract, HttpRule, Methods, PluginTransport } from './contract.ts';
import { PluginError } from './errors.ts';
import { createJsonReader, createJsonWriter } from './wire/go-json.ts';
import { decodeMessage, encodeMessage, type MessageType } from './wire/proto.ts';
import { createQueryReader, createQueryWriter } from './wire/query.ts';

/** One method's four translations over each transport, derived from its contract. Decoders throw PluginError `badReply`. */
export interface MethodCodec<Ask, Answer> {
  readonly grpc: {
    readonly path: string;
    encodeAsk(ask: Ask): Uint8Array;
    decodeAsk(message: Uint8Array): { ask: Ask; request: object };
    encodeAnswer(answer: Answer, request: object): Uint8Array;
    decodeAnswer(message: Uint8Array, ask: Ask): Answer;
  };
  readonly http: {
    readonly verb: string;
    /** `query` without `?`, keys sorted as Go sorts them; `body` undefined for GET. */
    encodeAsk(ask: Ask): { query: string; body: string | undefined };
    decodeAsk(query: string, body: Uint8Array): { ask: Ask; request: object };
    encodeAnswer(answer: Answer, request: object): string;
    decodeAnswer(body: Uint8Array, ask: Ask): Answer;
  };
}

/**
 * Derives the codec of one method. Call it once per method and keep the result. Encoders throw PluginError `internal`
 * when a value is not of its type; only our own side can cause that.
 */
export function createMethodCodec<M extends Methods, K extends keyof M & string>(
  contract: Contract<M>,
  name: K,
): MethodCodec<AskOf<M[K]>, AnswerOf<M[K]>> {
  type Ask = AskOf<M[K]>;
  type Answer = AnswerOf<M[K]>;
  const method: AnyMethod = contract.methods[name]!;
  const wire = method.wire as {
    request(ask: Ask): object;
    ask(request: object): Ask;
    answer(reply: object, ask: Ask): Answer;
    reply(answer: Answer, request: object, transport: PluginTransport): object;
  };
  const httpRequest = httpRequestCodec(method.request, method.http);
  const httpReply = httpReplyCodec(method.reply, method.http);
  // A mapping that trips over a value of the wrong shape (plain JavaScript has no types) fails as any other bad value.
  const toRequest = (ask: Ask): object => {
    try {
      return wire.request(ask);
    } catch (cause) {
      throw ownFault(cause, `${contract.kind}.${name}: the question has not the right shape`);
    }
  };
  const toReply = (answer: Answer, request: object, transport: PluginTransport): object => {
    try {
      return wire.reply(answer, request, transport);
    } catch (cause) {
      throw ownFault(cause, `${contract.kind}.${name}: the answer has not the right shape`);
    }
  };
  const withAsk = (request: object) => ({ ask: wire.ask(request), request });

  return {
    grpc: {
      path: `/${contract.service}/${method.rpc}`,
      encodeAsk: (ask) => encodeMessage(method.request, toRequest(ask)),
      decodeAsk: (message) => withAsk(decodeMessage(method.request, message)),
      encodeAnswer: (answer, request) => encodeMessage(method.reply, toReply(answer, request, 'grpc')),
      decodeAnswer: (message, ask) => wire.answer(decodeMessage(method.reply, message), ask),
    },
    http: {
      verb: method.http.verb,
      encodeAsk: (ask) => httpRequest.encode(toRequest(ask)),
      decodeAsk: (query, body) => withAsk(httpRequest.decode(query, body)),
      encodeAnswer: (answer, request) => httpReply.encode(toReply(answer, request, 'http')),
      decodeAnswer: (body, ask) => wire.answer(httpReply.decode(body), ask),
    },
  };
}

interface HttpRequestCodec {
  encode(request: object): { query: string; body: string | undefined };
  decode(query: string, body: Uint8Array): object;
}

interface HttpReplyCodec {
  encode(reply: object): string;
  decode(body: Uint8Array): object;
}

function httpRequestCodec(type: MessageType<object>, rule: HttpRule): HttpRequestCodec {
  if (rule.verb === 'GET') {
    const write = createQueryWriter(type, rule.request);
    const read = createQueryReader(type, rule.request);
    return {
      encode: (request) => ({ query: write(request), body: undefined }),
      decode: (query) => read(query),
    };
  }
  const inner = rule.body === undefined ? type : messageField(type, rule.body);
  const shape = { keys: rule.request, nested: rule.nested };
  const write = createJsonWriter(inner, shape);
  const read = createJsonReader(inner, shape);
  const { body: key } = rule;
  if (key === undefined) {
    return {
      encode: (request) => ({ query: '', body: write(request) }),
      decode: (_query, body) => read(body),
    };
  }
  return {
    encode: (request) => ({ query: '', body: write((request as Record<string, object>)[key] ?? {}) }),
    decode: (_query, body) => ({ [key]: read(body) }),
  };
}

function httpReplyCodec(type: MessageType<object>, rule: HttpRule): HttpReplyCodec {
  const write = createJsonWriter(type, { keys: rule.reply, nested: rule.nested });
  if (rule.replyBody !== undefined) {
    const key = rule.replyBody;
    return {
      encode: (reply) => Buffer.from((reply as Record<string, Uint8Array>)[key]!).toString('utf8'),
      decode: (body) => {
        // gRPC says so by no bytes, and there a message that is cut short is noticed. Here it would look the same.
        if (body.length === 0) throw new PluginError('badReply', 'the answer is empty where JSON belongs');
        return { ...decodeMessage(type, Buffer.alloc(0)), [key]: body };
      },
    };
  }
  if (rule.statusOnly) return { encode: write, decode: () => decodeMessage(type, Buffer.alloc(0)) };
  const { reply: keys, nested, alias, required } = rule;
  return { encode: write, decode: createJsonReader(type, { keys, nested, alias, required }) };
}

function messageField(type: MessageType<object>, name: string): MessageType<object> {
  const field = type.fields.find((one) => one.name === name);
  if (field === undefined || typeof field.type === 'string') {
    throw new PluginError('internal', `${type.typeName}.${name} is not a message`);
  }
  return field.type;
}

function ownFault(cause: unknown, message: string): PluginError {
  return cause instanceof PluginError ? cause : new PluginError('internal', message, { cause });
}

/**
 * Reads a reply as a plugin would give it over HTTP, for answers that stand in a configuration. Throws PluginError
 * `badReply` where it is none.
 */
export function parseReply(contract: Contract, method: string, body: Uint8Array): unknown {
  const { decodeAnswer } = createMethodCodec(contract, method).http;
  // What an answer takes from its question is nothing that a fixed answer could say.
  return decodeAnswer(body, {} as never);
}
