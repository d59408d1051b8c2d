import assert from 'node:assert/strict';
import { PluginError } from '../errors.ts';

/** Checks that a call ends in one of these codes, and gives the error for a closer look. */
export async function expectFailure(
  call: Promise<unknown>,
  codes: readonly PluginError['code'][],
): Promise<PluginError> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error === undefined) assert.fail(`expected ${codes.join(' or ')}, but it was answered`);
  if (!(error instanceof PluginError)) throw error;
  if (!codes.includes(error.code))
    assert.fail(`expected ${codes.join(' or ')}, and it is ${error.code}: ${error.message}`);
  return error;
}
