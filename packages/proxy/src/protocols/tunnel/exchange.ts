import type { BackgroundQueue } from '../../core/background-queue.ts';
import type { MuxSettings } from '../../core/mux/settings.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Holder, Kept } from './kept.ts';
import type { HandlerMetadata } from './options.ts';
import type { Tunnels } from './tunnels.ts';
import type { VisitExchange } from './visit.ts';
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
export interface Exchange extends VisitExchange {
  readonly node: TunnelNode;
  wish?: TunnelWish;
  /** It has been told already what became of it. */
  isNoted?: boolean;
}
