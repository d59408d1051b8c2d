import { canonicalTarget } from '../address.ts';
import { ProxyError } from '../errors.ts';
import { hasPort } from './ports.ts';
import type { PortRange } from './ports.ts';

/** Which hosts a name in a rule speaks of: that name alone, it and all below it, or only what is below it. */
export type DomainScope = 'exact' | 'suffix' | 'below';

/** Host names, each with a value. */
export interface DomainSet<V> {
  /** How many rules were added. */
  readonly size: number;
  /** The name is canonical. Of two rules for the same name, scope and ports the earlier counts. */
  add(scope: DomainScope, name: string, ports: PortRange | undefined, value: V): void;
  /**
   * The value of the closest rule: the name itself, then what begins at it, then at each parent. It costs one probe of a
   * hash table for each label of the host, whatever the number of rules. The host is in lower case.
   */
  find(host: string, port: number): V | undefined;
}

interface Rule<V> {
  readonly scope: DomainScope;
  readonly ports: PortRange | undefined;
  readonly value: V;
}

/** The longest name that a rule can hold (RFC 1035, section 2.3.4), as text without the last dot. */
const maxNameLength = 253;

/** An empty {@link DomainSet}. Values must not be undefined. */
export function createDomainSet<V>(): DomainSet<V> {
  const names = new Map<string, Rule<V>[]>();
  let size = 0;

  const among = (name: string, port: number, scopes: readonly DomainScope[]): V | undefined => {
    const rules = names.get(name);
    if (rules === undefined) return undefined;
    for (const scope of scopes) {
      for (const rule of rules) if (rule.scope === scope && hasPort(rule.ports, port)) return rule.value;
    }
    return undefined;
  };

  return {
    get size() {
      return size;
    },
    add(scope, name, ports, value) {
      const rules = names.get(name);
      if (rules === undefined) names.set(name, [{ scope, ports, value }]);
      else rules.push({ scope, ports, value });
      size++;
    },
    find(host, port) {
      const found = among(host, port, itself);
      if (found !== undefined) return found;
      // What is longer than a name can be is looked at from its end, so that it neither escapes nor costs more.
      let dot = host.indexOf('.', Math.max(0, host.length - maxNameLength - 1));
      while (dot >= 0) {
        const value = among(host.slice(dot + 1), port, parents);
        if (value !== undefined) return value;
        dot = host.indexOf('.', dot + 1);
      }
      return undefined;
    },
  };
}

const itself = ['exact', 'suffix'] as const;
const parents = ['suffix', 'below'] as const;

/**
 * Reads `example.com` (that name alone) or `.example.com` (the name and all below it) and makes it canonical as targets
 * are: lower case, IDNA, no last dot. Throws TypeError for what no target can be called.
 */
export function parseDomainRule(text: string): { readonly scope: DomainScope; readonly name: string } {
  const suffix = text.startsWith('.');
  try {
    const { host } = canonicalTarget({ host: suffix ? text.slice(1) : text, port: 1 });
    return { scope: suffix ? 'suffix' : 'exact', name: host };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    throw new TypeError('is no host name', { cause: error });
  }
}
