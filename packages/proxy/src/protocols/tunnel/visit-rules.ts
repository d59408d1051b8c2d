import { ProxyError } from '../../core/errors.ts';
import { relayStatus } from '../../wire/relay.ts';
import type { TunnelRule } from './tunnels.ts';

/** What decides where a relay visitor gets. */
export interface VisitQuestion {
  /** The tunnel that the visitor says, a UUID in small letters. */
  readonly id: string;
  /** What is wanted, for people. */
  readonly wanted: string;
  /** Which tunnel the ingress has for the wanted host. */
  readonly rule: TunnelRule | undefined;
  /** `entrypoint.id`. */
  readonly publicId: string | undefined;
  /** `tunnel.direct`. */
  readonly direct: boolean;
  /**
   * True for whoever has come in where everybody may, and has proved nothing: no private tunnel is for them, even if they say
   * its UUID. Default false.
   */
  readonly isStranger?: boolean;
}

/** Where a relay visitor gets: to a tunnel, or what it is told instead. */
export type VisitRuling = { readonly id: string } | { readonly status: number; readonly error: ProxyError };

/**
 * GOST's rules for relay visitors. Who says the public id goes where the ingress says, unless that tunnel is private; who says
 * another one has to say the tunnel that the ingress has for the host, except where `tunnel.direct` lets them go to any. The
 * statuses are GOST's: 7 where a public visitor's host has no tunnel, 6 for every other no.
 */
export function ruleOnVisit(question: VisitQuestion): VisitRuling {
  const { id, wanted, rule, publicId, direct, isStranger = false } = question;
  if (id === publicId) {
    if (rule === undefined) return refused(relayStatus.networkUnreachable, `no tunnel serves ${wanted}`);
    if (rule.isPrivate)
      return refused(relayStatus.hostUnreachable, `${wanted} is served by a private tunnel`);
    return { id: rule.id };
  }
  if (rule?.id === id && rule.isPrivate && isStranger) {
    const message = `${wanted} is served by a private tunnel, and the visitor has proved nothing`;
    return refused(relayStatus.hostUnreachable, message);
  }
  if (direct || rule?.id === id) return { id };
  return refused(relayStatus.hostUnreachable, `${wanted} is not served by the tunnel ${id}`);
}

function refused(status: number, message: string): VisitRuling {
  return { status, error: new ProxyError('noRoute', 'client', message, { status: 502 }) };
}
