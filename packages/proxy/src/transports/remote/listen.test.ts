import { describe, expect, test } from 'vitest';
import type { Accept, RemoteListening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import type { BindRequest, Way } from '../../core/way.ts';
import { listenRemote } from './listen.ts';

const request: BindRequest = { network: 'tcp', address: { host: '', port: 2222 } };
const gone = new ProxyError('upstreamClosed', 'upstream', 'the node went away');

/** A far end that a test holds in its hand. */
interface Bound {
  readonly accept: Accept;
  readonly lose: () => void;
  isClosed: boolean;
}

class FarEnd {
  readonly bound: Bound[] = [];
  readonly signals: AbortSignal[] = [];
  readonly said: string[] = [];
  /** What the next binds come to; none left: they succeed. */
  readonly failures: (ProxyError | 'hangs')[] = [];
  #look: (() => void) | undefined;

  readonly way: Way = {
    dial: () => Promise.reject(gone),
    close: () => Promise.resolve(),
    bind: (asked, accept, { signal }) => {
      this.signals.push(signal);
      expect(asked).toMatchObject(request);
      const failure = this.failures.shift();
      this.#look?.();
      if (failure === 'hangs')
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(new ProxyError('clientClosed', 'client', 'nobody waits'));
          });
        });
      if (failure !== undefined) return Promise.reject(failure);
      return Promise.resolve(this.#bind(accept));
    },
  };

  #bind(accept: Accept): RemoteListening {
    let lose!: () => void;
    const lost = new Promise<ProxyError>((resolve) => {
      lose = () => {
        resolve(gone);
      };
    });
    const one: Bound = { accept, lose, isClosed: false };
    this.bound.push(one);
    this.#look?.();
    return {
      address: { host: '203.0.113.1', port: 2222 },
      lost,
      close: () => {
        one.isClosed = true;
        lose();
        return Promise.resolve();
      },
    };
  }

  readonly problems: ProxyError[] = [];

  listen(accept: Accept = () => undefined, bindMs?: number) {
    const told = {
      accept,
      problem: (error: ProxyError) => {
        this.problems.push(error);
        this.#look?.();
      },
      inform: (text: string) => {
        this.said.push(text);
        this.#look?.();
      },
    };
    return listenRemote(this.way, request, told, bindMs);
  }

  until(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#look = () => {
        if (done()) resolve();
      };
      this.#look();
    });
  }
}

describe('a listener at the far end of a chain', () => {
  test('is there at once, and gives what comes to the far end', async () => {
    const far = new FarEnd();
    const [visitor] = memoryConnPair();
    const accepted: unknown[] = [];
    const listening = await far.listen((end) => accepted.push(end));
    await far.until(() => far.said.length === 1);
    expect(far.said).toEqual(['bound at 203.0.113.1:2222']);
    far.bound[0]!.accept(visitor);
    expect(accepted).toEqual([visitor]);
    await listening.close();
    expect(far.bound[0]!.isClosed).toBe(true);
    expect(far.problems).toEqual([]);
  });

  test('is asked for again when the far end cannot be reached, and when it goes', async () => {
    const far = new FarEnd();
    const refused = new ProxyError('upstreamRefused', 'upstream', 'wrong password');
    far.failures.push(gone, gone, refused);
    const listening = await far.listen();
    await far.until(() => far.said.length === 1);
    // What is the same is said once.
    expect(far.problems).toEqual([gone, refused]);
    far.bound[0]!.lose();
    await far.until(() => far.said.length === 2);
    expect(far.problems).toEqual([gone, refused, gone]);
    await listening.close();
    expect(far.bound).toHaveLength(2);
    expect(far.bound[1]!.isClosed).toBe(true);
  });

  test('is ready when it is there, or could not be for the first time', async () => {
    const far = new FarEnd();
    far.failures.push(gone);
    const failing = await far.listen();
    await failing.ready;
    expect([far.problems, far.said]).toEqual([[gone], []]);
    const other = new FarEnd();
    const bound = await other.listen();
    await bound.ready;
    expect(other.said).toHaveLength(1);
    const hanging = new FarEnd();
    hanging.failures.push('hangs');
    const listening = await hanging.listen();
    let isReady = false;
    void listening.ready!.then(() => (isReady = true));
    await hanging.until(() => hanging.signals.length === 1);
    expect(isReady).toBe(false);
    await listening.close();
    await listening.ready;
  });

  test('that is closed while it is asked for gives up', async () => {
    const far = new FarEnd();
    far.failures.push('hangs');
    const listening = await far.listen();
    await listening.close();
    expect(far.signals[0]!.aborted).toBe(true);
    expect(far.problems).toEqual([]);
    expect(far.bound).toEqual([]);
  });

  test('that is closed while it waits to ask again does not ask again', async () => {
    const far = new FarEnd();
    far.failures.push(gone);
    const listening = await far.listen();
    await far.until(() => far.problems.length === 1);
    await listening.close();
    expect(far.signals).toHaveLength(1);
  });

  test('that says nothing is given up in time, and asked for again', async () => {
    const far = new FarEnd();
    far.failures.push('hangs');
    const listening = await far.listen(undefined, 20);
    await far.until(() => far.said.length === 1);
    expect(far.problems).toMatchObject([{ code: 'dialTimeout' }]);
    await listening.close();
  });

  test('is refused where there is no far end', async () => {
    const nowhere = { accept: () => undefined, problem: () => undefined, inform: () => undefined };
    await expect(listenRemote(undefined, request, nowhere)).rejects.toMatchObject({ code: 'unsupported' });
  });
});
