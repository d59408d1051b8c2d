import { ProxyError } from '../../core/errors.ts';

/** What is on its way through other nodes, told apart by what it begins with. */
export interface Laps {
  /** Throws ProxyError `loop` where the same beginning is on its way too often already. */
  check(beginning: Buffer): void;
  /** It is on its way until `over` resolves. */
  depart(beginning: Buffer, over: Promise<void>): void;
}

/**
 * Knows the connections that went on to another node and come back: where each of two nodes takes the other for the one that
 * has a tunnel's client, a connection would go round between them until there are no more descriptors. `most`: how many may
 * begin alike, because peers may have reasons for that.
 */
export function createLaps(most: number): Laps {
  const away = new Map<string, number>();
  return {
    check(beginning) {
      if ((away.get(keyOf(beginning)) ?? 0) < most) return;
      const message = 'the connection has gone to another node and come back too often';
      throw new ProxyError('loop', 'self', message, { status: 503 });
    },
    depart(beginning, over) {
      const key = keyOf(beginning);
      away.set(key, (away.get(key) ?? 0) + 1);
      void over.then(() => {
        const left = away.get(key)! - 1;
        if (left === 0) away.delete(key);
        else away.set(key, left);
      });
    },
  };
}

const keyOf = (beginning: Buffer) => beginning.toString('latin1');
