import type { AnyMethod, AnswerOf, AskOf, Contract, Methods } from './contract.ts';

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

/** Derives the codec of one method. Call it once per method and keep the result. */
export declare function createMethodCodec<M extends Methods, K extends keyof M & string>(
  contract: Contract<M>,
  name: K,
): MethodCodec<AskOf<M[K]>, AnswerOf<M[K]>>;
export type { AnyMethod };
