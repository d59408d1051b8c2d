import type { BackgroundQueue } from '../../core/background-queue.ts';
import type { Address, Conn } from '../../core/conn.ts';
import type { MuxSettings } from '../../core/mux/settings.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Session } from '../../core/session.ts';
import type { Holder, Kept } from './kept.ts';
import type { HandlerMetadata } from './options.ts';
import type { Tunnels } from './tunnels.ts';
import type { TunnelWish } from './wish.ts';

/** A handler that has been started. */
export interface TunnelNode {
  readonly metadata: HandlerMetadata;
  readonly kept: Kept;
  readonly holder: Holder;
  readonly tunnels: Tunnels;
  /** The ingress, and where calls to it wait that nobody waits for. */
  readonly ingress?: { readonly policy: PolicyOf<'ingress'>; readonly queue: BackgroundQueue };
  readonly mux: MuxSettings;
  readonly ttlMs: number;
}

/** One client's request at the handler, as far as it has come. */
export interface Exchange {
  readonly node: TunnelNode;
  readonly session: Session;
  readonly conn: Conn;
  readonly startedMs: number;
  /** True once a byte has come that the protocol begins with: whoever speaks another is told nothing. */
  begun: boolean;
  wish?: TunnelWish;
  /** Of a visitor, canonical. */
  target?: Address;
  /** What the client is told where it goes wrong now. Absent: what the error says. */
  refusal?: number;
  /** What the client has been told. Another node's visitors are told by that. */
  status?: number;
  /** Present: the UUID of the other node that it was passed on to. */
  redirect?: string;
  /** It has been told already what became of it. */
  isNoted?: boolean;
}
