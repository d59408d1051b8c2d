import type { ProxyError } from '../errors.ts';

/** How the request's body fares. */
export class Sending {
  /** What went wrong on the client's side. */
  error: ProxyError | undefined;
  done = false;
  /** True once nobody wants the body any more. */
  over = false;
  /** The origin does not read on. Whether that is bad is said by its answer, or by there being none. */
  readonly refused = (): void => {
    this.over = true;
  };
}
