/** One thing that must hold. Any test framework runs it: `for (const { name, run } of cases) test(name, run)`. */
export interface ConformanceCase {
  readonly name: string;
  /**
   * Resolves where it holds and rejects with an error that says what was expected and what came. It opens what it needs
   * and closes it, and ends within its own deadlines. Cases run one after the other, in any order.
   */
  run(): Promise<void>;
}
