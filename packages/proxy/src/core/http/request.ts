import type { BodyFraming, Http1RequestHead } from '@sallyport/plugin/wire';
import type { Address } from '../conn.ts';
import type { MessageReader } from './message-reader.ts';

/** One request of a client's connection, whose body is still to be read. */
export interface HttpRequest {
  readonly head: Http1RequestHead;
  readonly framing: BodyFraming;
  /** Where its body comes from. */
  readonly requests: MessageReader<'request'>;
  readonly progress: Progress;
  /** Where it wants to go, once that is known; for whoever is told of it. */
  target?: Address | undefined;
  /** The forwarder's node that it was sent to, for whoever is told of it. */
  node?: string;
  /** What more the protocol knows of it, for records, under GOST's keys. */
  facts?: Readonly<Record<string, unknown>>;
  /** Bytes that follow it are no further request, as after a CONNECT. */
  isTunnel?: boolean;
}

/** How far the answer has come. */
export interface Progress {
  /** The final status, once its head was sent. */
  status?: number;
  /** The fields of the answer, as the client got them. */
  fields?: readonly string[];
  /** True while an answer is under way whose end only the connection's end tells. */
  untilClose?: boolean;
  /** Settles, never rejecting, when nothing reads the request's body any more. */
  sending?: Promise<void>;
}

/** True where no byte of a body follows. */
export function isEmpty(framing: BodyFraming): boolean {
  return framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0);
}
