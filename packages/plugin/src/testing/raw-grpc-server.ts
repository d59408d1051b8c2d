import type * as net from 'node:net';
import { createMethodCodec } from '../codec.ts';
import type { Contract } from '../contract.ts';
import { flag, frameType } from '../wire/h2/codes.ts';
import { RawPeer, frame, settings } from './raw-h2.ts';
import type { Frame } from './raw-h2.ts';
import { typicalSample } from './samples.ts';

/** One call that is to be answered frame by frame. */
export interface RawCall {
  readonly peer: RawPeer;
  /** The call's stream. */
  readonly id: number;
  /** The message of the right answer, without its prefix. */
  readonly good: Buffer;
}

/** Says what is done with a call. */
export type AnswerRaw = (call: RawCall) => void;

/**
 * Takes gRPC calls on a socket and has each of them answered as a test wants it. Nothing else is wrong with this server: it
 * acknowledges SETTINGS and answers PING. `greet` is what it says first. A client that writes no proper request is cut off.
 */
export function answerRaw(
  socket: net.Socket,
  contract: Contract,
  answer: AnswerRaw,
  greet: Uint8Array = settings(),
): void {
  const peer = new RawPeer(socket, 'server');
  if (greet.length > 0) peer.send(greet);
  serve(peer, contract, answer).catch(() => socket.destroy());
}

interface OpenCall {
  readonly path: string;
  readonly parts: Buffer[];
}

/** Ends, by an error, with the connection. */
async function serve(peer: RawPeer, contract: Contract, answer: AnswerRaw): Promise<void> {
  const calls = new Map<number, OpenCall>();
  for (;;) {
    const one = await peer.nextFrame();
    const { type, flags, id } = one;
    if (type === frameType.settings && (flags & flag.ack) === 0) {
      peer.send(frame(frameType.settings, flag.ack, 0));
    } else if (type === frameType.ping && (flags & flag.ack) === 0) {
      peer.send(frame(frameType.ping, flag.ack, 0, one.payload));
    } else if (type === frameType.headers) {
      const fields = peer.fieldsOf(await wholeBlock(peer, one));
      const at = fields.indexOf(':path');
      calls.set(id, { path: fields[at + 1]!, parts: [] });
    } else if (type === frameType.data) {
      calls.get(id)?.parts.push(content(one));
    } else {
      continue;
    }
    const isRequest = type === frameType.headers || type === frameType.data;
    const call = calls.get(id);
    if (!isRequest || (flags & flag.endStream) === 0 || call === undefined) continue;
    calls.delete(id);
    answer({ peer, id, good: goodAnswer(contract, call) });
  }
}

async function wholeBlock(peer: RawPeer, first: Frame): Promise<Buffer> {
  const parts = [content(first)];
  for (let { flags } = first; (flags & flag.endHeaders) === 0;) {
    const next = await peer.next(frameType.continuation);
    parts.push(next.payload);
    flags = next.flags;
  }
  return Buffer.concat(parts);
}

/** A payload without its padding and its priority (RFC 9113, sections 6.1 and 6.2). */
function content({ type, flags, payload }: Frame): Buffer {
  const isPadded = (flags & flag.padded) !== 0;
  const hasPriority = type === frameType.headers && (flags & flag.priority) !== 0;
  const from = (isPadded ? 1 : 0) + (hasPriority ? 5 : 0);
  return payload.subarray(from, payload.length - (isPadded ? payload[0]! : 0));
}

function goodAnswer(contract: Contract, { path, parts }: OpenCall): Buffer {
  for (const name of Object.keys(contract.methods)) {
    const { grpc } = createMethodCodec(contract, name);
    if (grpc.path !== path) continue;
    const { request } = grpc.decodeAsk(Buffer.concat(parts).subarray(5));
    return Buffer.from(grpc.encodeAnswer(typicalSample(contract, name).answer as never, request));
  }
  throw new TypeError(`${path} is no method of ${contract.kind}`);
}
