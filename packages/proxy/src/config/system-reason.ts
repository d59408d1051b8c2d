/** A system error in plain words, without the path, which stands before it already. */
export function systemReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const reasons: Record<string, string> = {
    ENOENT: 'there is no such file',
    EISDIR: 'it is a folder',
    EACCES: 'no permission',
    EPERM: 'no permission',
    ENOTDIR: 'a part of the path is not a folder',
  };
  return reasons[code] ?? (code !== '' ? code : String(error));
}
