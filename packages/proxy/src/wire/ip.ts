import { isIP } from 'node:net';

/** The 4 or 16 bytes of an IP address; undefined for what is none, and for an IPv6 address with a zone. */
export function parseIp(text: string): Buffer | undefined {
  switch (isIP(text)) {
    case 4:
      return Buffer.from(text.split('.').map(Number));
    case 6:
      return text.includes('%') ? undefined : parseIPv6(text);
    default:
      return undefined;
  }
}

/** The text of 4 or 16 bytes, IPv6 as short as RFC 5952 has it. Any other length is a mistake of the caller. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new RangeError(`an IP address of ${String(bytes.length)} bytes`);
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! << 8) | bytes[2 * index + 1]!);
  // Section 5: an address that is known to hold an IPv4 address shows it.
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${bytes.subarray(12).join('.')}`;
  }
  const gap = longestGap(groups);
  const hex = (from: number, to?: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return gap === undefined ? hex(0) : `${hex(0, gap.from)}::${hex(gap.to)}`;
}

/** The text has been checked: at most one `::`, eight groups otherwise, the last two maybe as an IPv4 address. */
function parseIPv6(text: string): Buffer {
  const [front = '', back] = text.split('::');
  const [before, after] = [groupsOf(front), groupsOf(back ?? '')];
  const bytes = Buffer.alloc(16);
  before.forEach((group, index) => bytes.writeUInt16BE(group, 2 * index));
  after.forEach((group, index) => bytes.writeUInt16BE(group, 16 - 2 * (after.length - index)));
  return bytes;
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [parseInt(group, 16)];
    const [a, b, c, d] = group.split('.').map(Number);
    return [(a! << 8) | b!, (c! << 8) | d!];
  });
}

/** The longest run of two or more zero groups, the first of several (RFC 5952, section 4.2). */
function longestGap(groups: readonly number[]): { from: number; to: number } | undefined {
  let best: { from: number; to: number } | undefined;
  for (let from = 0; from < groups.length; from++) {
    let to = from;
    while (groups[to] === 0) to++;
    if (to - from >= 2 && (best === undefined || to - from > best.to - best.from)) best = { from, to };
    from = Math.max(from, to - 1);
  }
  return best;
}
