import { combine, connectPlugin, contractByKind } from '@sallyport/plugin';
import type { CallEvent, Member, Policy } from '@sallyport/plugin';
import type { AuthMethods, Parts } from './config/parts.ts';
import { ProxyError } from './core/errors.ts';
import { startService } from './core/service.ts';
import { logSessions } from './log/session-log.ts';
import { modules } from './modules.ts';

/** The shipped parts: what a configuration is made to run of. */
export const shippedParts: Parts = {
  connectAuther({ name, transport, addresses, ...options }) {
    const { warnings, check, close, authenticate } = connectPlugin(contractByKind.auth, {
      ...options,
      name,
      transport,
      addr: addresses,
    });
    return { policy: { authenticate }, warnings, check, close: () => close(0) };
  },
  listAuther: modules.policies.auther,
  combineAuthers: (members) => combine(contractByKind.auth, members.map(named)),
  startService({ name, address, handler, listener, authenticate, log }) {
    const way = moduleOf('listener', modules.transports, listener).wrap(undefined);
    return startService({
      service: name,
      address,
      entry: way,
      way: moduleOf('dialer', modules.transports, 'tcp').wrap(undefined),
      protocol: moduleOf('handler', modules.protocols, handler),
      authenticate,
      publish: logSessions(log),
      problem(error) {
        log.warn({ code: error.code, at: error.at }, error.message);
      },
    });
  },
};

/** A built-in does not know what it is called in the file; whoever reads its events should. */
function named(member: Member<AuthMethods>): Member<AuthMethods> {
  const policy: Policy<AuthMethods> = {
    authenticate(ask, call) {
      const { observe } = call;
      if (observe === undefined) return member.policy.authenticate(ask, call);
      const rename = (event: CallEvent) => {
        observe(event.name === undefined ? { ...event, name: member.name } : event);
      };
      return member.policy.authenticate(ask, { ...call, observe: rename });
    },
  };
  return { ...member, policy };
}

function moduleOf<M extends { readonly type: string }>(what: string, list: readonly M[], type: string): M {
  const found = list.find((module) => module.type === type);
  if (found === undefined) throw new ProxyError('unsupported', 'self', `there is no ${what} of type ${type}`);
  return found;
}
