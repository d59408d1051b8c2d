// docs/faults.md, of which each of two tests writes a part.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const file = fileURLToPath(new URL('../../../../docs/faults.md', import.meta.url));

/** Where the second part begins. */
const middle = '\n## Tunnels and virtual networks\n';

/** The page as it is, and as it is with one part as it was seen; with `UPDATE_DOCS=1` it is written first. */
export function pageWith(part: 'modules' | 'tunnels', text: string): readonly [is: string, wanted: string] {
  const page = readFileSync(file, 'utf8');
  const at = page.indexOf(middle);
  const [first, second] = at < 0 ? [page, ''] : [page.slice(0, at), page.slice(at)];
  const wanted = part === 'modules' ? `${text}${second}` : `${first}${middle}${text}`;
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, wanted);
  return [readFileSync(file, 'utf8'), wanted];
}
