import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMethodCodec } from './codec.ts';
import type { AnyMethod } from './contract.ts';
import { auth, bypass, contractByKind, contracts, hop, rewriter, sd } from './contracts/index.ts';
import { anyMessage } from './wire/message.fixture.ts';
import { encodeMessage } from './wire/proto.ts';
import { PluginError } from './errors.ts';

const all = contracts.flatMap((contract) =>
  Object.entries<AnyMethod>(contract.methods).map(([name, method]) => ({
    name: `${contract.kind}.${name}`,
    method,
    codec: createMethodCodec(contract, name),
  })),
);

/** Metadata is JSON inside bytes and nodes are too: any bytes will not do for them. */
function withJson(request: object): object {
  return 'metadata' in request
    ? { ...request, metadata: Buffer.from('{"a":[1,"<"],"b":18446744073709551617}') }
    : request;
}

describe.each(all)('$name', ({ method, codec }) => {
  it('asks the same over both transports', () => {
    fc.assert(
      fc.property(anyMessage(method.request), (message) => {
        const { ask } = codec.grpc.decodeAsk(encodeMessage(method.request, withJson(message)));
        expect(codec.grpc.decodeAsk(codec.grpc.encodeAsk(ask)).ask).toEqual(ask);
        const { query, body } = codec.http.encodeAsk(ask);
        expect(codec.http.decodeAsk(query, Buffer.from(body ?? '')).ask).toEqual(ask);
      }),
      { numRuns: 60 },
    );
  });

  it('answers the same over both transports', () => {
    const request = codec.grpc.decodeAsk(Buffer.alloc(0));
    fc.assert(
      fc.property(anyMessage(method.reply), (message) => {
        const reply =
          'node' in message ? { node: Buffer.from('{"addr":":8080","n":9007199254740993}') } : message;
        const answer: unknown = codec.grpc.decodeAnswer(encodeMessage(method.reply, reply), request.ask);
        const overGrpc = codec.grpc.encodeAnswer(answer, request.request);
        expect(codec.grpc.decodeAnswer(overGrpc, request.ask)).toEqual(answer);
        const overHttp = codec.http.encodeAnswer(answer, request.request);
        expect(codec.http.decodeAnswer(Buffer.from(overHttp), request.ask)).toEqual(answer);
      }),
      { numRuns: 60 },
    );
  });

  it('throws nothing but PluginError for garbage', () => {
    const request = codec.grpc.decodeAsk(Buffer.alloc(0));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.json(), (bytes, text) => {
        const body = Buffer.from(text);
        for (const attempt of [
          () => codec.grpc.decodeAsk(bytes),
          () => codec.grpc.decodeAnswer(bytes, request.ask),
          () => codec.http.decodeAsk(text, body),
          () => codec.http.decodeAsk('', Buffer.from(bytes)),
          () => codec.http.decodeAnswer(body, request.ask),
          () => codec.http.decodeAnswer(Buffer.from(bytes), request.ask),
        ]) {
          try {
            attempt();
          } catch (error) {
            if (!(error instanceof PluginError)) throw error;
            expect(error.code).toBe('badReply');
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('what an implementer may get wrong', () => {
  it('is a PluginError, never a guessed answer', () => {
    const request = createMethodCodec(bypass, 'bypass').grpc.decodeAsk(Buffer.alloc(0)).request;
    for (const wrong of [undefined, null, 1, 'yes', {}]) {
      for (const encode of [
        createMethodCodec(bypass, 'bypass').grpc.encodeAnswer,
        createMethodCodec(bypass, 'bypass').http.encodeAnswer,
      ]) {
        expect(() => encode(wrong as never, request)).toThrow(
          expect.objectContaining({ code: 'internal' }) as Error,
        );
      }
    }
    const authenticate = createMethodCodec(auth, 'authenticate');
    expect(() => authenticate.grpc.encodeAnswer(undefined as never, {})).toThrow(
      'auth.authenticate: the answer has not the right shape',
    );
    expect(() => authenticate.grpc.encodeAsk(undefined as never)).toThrow(
      'auth.authenticate: the question has not the right shape',
    );
    expect(() => authenticate.http.encodeAnswer({ ok: true, user: 7 } as never, {})).toThrow(
      'proto.AuthenticateReply.id must be a string',
    );
  });
});

describe('what a reply must have', () => {
  it.each(['admission', 'auth', 'bypass'] as const)('%s: its ok, in exactly this case', (kind) => {
    const contract = contractByKind[kind];
    const codec = createMethodCodec(
      contract as never,
      Object.keys(contract.methods)[0] as never,
    ) as ReturnType<typeof createMethodCodec>;
    for (const text of ['{}', '{"OK":true}', '{"id":"x"}', '', 'ok', '{"ok":true', '{"ok":true}{}']) {
      expect(() => codec.http.decodeAnswer(Buffer.from(text), {})).toThrow(PluginError);
    }
  });
});

describe('hop', () => {
  const codec = createMethodCodec(hop, 'select');
  const ask = { network: '', target: '', host: '', path: '', user: '', client: '' };

  it('no node is no bytes over gRPC, and over HTTP that is no answer: it looks like one that was cut short', () => {
    const grpc = encodeMessage(hop.methods.select.reply, { node: Buffer.alloc(0) });
    expect(codec.grpc.decodeAnswer(grpc, ask)).toBeUndefined();
    expect(() => codec.http.decodeAnswer(Buffer.alloc(0), ask)).toThrow(
      expect.objectContaining({ name: 'PluginError', code: 'badReply' }) as Error,
    );
  });

  it.each(['null', '{}', '{"name":"n"}', '{"addr":""}', '{"addr":null}'])(
    'no node is %j over both',
    (text) => {
      const grpc = encodeMessage(hop.methods.select.reply, { node: Buffer.from(text) });
      expect(codec.grpc.decodeAnswer(grpc, ask)).toBeUndefined();
      expect(codec.http.decodeAnswer(Buffer.from(text), ask)).toBeUndefined();
    },
  );

  it('says {} for no node over both', () => {
    expect(Buffer.from(codec.grpc.encodeAnswer(undefined, {})).toString()).toBe('\n\x02{}');
    expect(codec.http.encodeAnswer(undefined, {})).toBe('{}');
  });

  it.each(['[]', '7', '"n"', '{"addr":7}', '{"addr":"a"', 'x'])('%s is no answer', (text) => {
    const grpc = encodeMessage(hop.methods.select.reply, { node: Buffer.from(text) });
    expect(() => codec.grpc.decodeAnswer(grpc, ask)).toThrow(PluginError);
    expect(() => codec.http.decodeAnswer(Buffer.from(text), ask)).toThrow(PluginError);
  });

  it('keeps a node as it is, integers exact, keys in their order', () => {
    const text =
      '{"name":"n","addr":"h:1","metadata":{"b":9007199254740993,"a":"\\u003c"},"list":[1.5,null]}';
    const node = codec.http.decodeAnswer(Buffer.from(text), ask);
    expect(node).toMatchObject({ addr: 'h:1', metadata: { b: 9007199254740993n } });
    expect(codec.http.encodeAnswer(node, {})).toBe(text);
  });
});

describe('rewriter', () => {
  const codec = createMethodCodec(rewriter, 'rewrite');
  const ask = { data: Buffer.from('x'), metadata: null };
  const { request } = codec.grpc.decodeAsk(codec.grpc.encodeAsk(ask));

  it('over HTTP tells unchanged from empty', () => {
    const answer = (text: string) => codec.http.decodeAnswer(Buffer.from(text), ask);
    expect(answer('{"ok":true}')).toBeUndefined();
    expect(answer('{"ok":true,"data":null}')).toBeUndefined();
    expect(answer('{"ok":false,"data":"eA=="}')).toBeUndefined();
    expect(answer('{"ok":true,"data":""}')).toEqual(Buffer.alloc(0));
    expect(answer('{"ok":true,"data":"eA=="}')).toEqual(Buffer.from('x'));
    expect(codec.http.encodeAnswer(new Uint8Array(0), request)).toBe('{"ok":true,"data":""}');
    expect(codec.http.encodeAnswer(undefined, request)).toBe('{"ok":true,"data":null}');
  });

  it('over gRPC cannot say an empty body, and does not say "unchanged" instead', () => {
    expect(() => codec.grpc.encodeAnswer(new Uint8Array(0), request)).toThrow('cannot be said over gRPC');
    const empty = codec.grpc.decodeAsk(
      codec.grpc.encodeAsk({ data: Buffer.alloc(0), metadata: null }),
    ).request;
    expect(codec.grpc.decodeAnswer(codec.grpc.encodeAnswer(new Uint8Array(0), empty), ask)).toBeUndefined();
  });
});

describe('sd', () => {
  it('takes the status alone for register, renew and deregister', () => {
    for (const name of ['register', 'renew', 'deregister'] as const) {
      const codec = createMethodCodec(sd, name);
      const service = { id: '', name: '', node: '', network: '', address: '' };
      expect(codec.http.decodeAnswer(Buffer.from('not JSON at all'), service)).toBeUndefined();
      expect(codec.grpc.decodeAnswer(Buffer.alloc(0), service)).toBeUndefined();
      expect(codec.http.encodeAnswer(undefined, {})).toBe('{"ok":true}');
    }
  });
});
