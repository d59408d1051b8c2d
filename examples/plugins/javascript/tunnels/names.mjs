// What hosts, tunnels and networks are called: one spelling of each, whoever asks. Pure functions; undefined is "that is none".
import { createHash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';

const maxHostLength = 253;
// With brackets, a port, and whatever a name that is not yet in ASCII may shrink from.
const maxHostTextLength = 4 * maxHostLength;

/** A host name or address, as rules have it: lower case, in ASCII, without port, brackets and the last dot. */
export function parseHost(text) {
  if (text.length > maxHostTextLength) return undefined;
  const host = /^\[([^\]]*)\](?::\d*)?$/.exec(text)?.[1] ?? (isIPv6(text) ? text : text.replace(/:\d*$/, ''));
  const address = parseAddress(host);
  if (address !== undefined) return formatAddress(address);
  const name = (/^[\0-\x7f]*$/.test(host) ? host : domainToASCII(host)).toLowerCase().replace(/\.$/, '');
  if (name.length > maxHostLength || !/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name)) return undefined;
  return name;
}

/** The same for a rule of the administrator: `*.example.com` and `.example.com` are the name and all names below it. */
export function parseRuleHost(text) {
  const rest = text.startsWith('*') ? text.slice(1) : text;
  if (!rest.startsWith('.')) return parseHost(rest);
  const name = parseHost(rest.slice(1));
  return name === undefined ? undefined : `.${name}`;
}

/** Under which names a host's rule may stand, the nearest first: `a.b.c`, `.a.b.c`, `.b.c`, `.c`. */
export function ruleNamesOf(host) {
  const names = [host, `.${host}`];
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) names.push(host.slice(dot));
  return names;
}

/** A UUID as 36 lower-case characters; braces, `urn:uuid:`, capitals and missing dashes are read, too. */
export function parseUuid(text) {
  if (text.length > 45) return undefined;
  const bare = text.toLowerCase().replace(/^urn:uuid:/, '');
  const plain = /^\{.*\}$/.test(bare) ? bare.slice(1, -1) : bare;
  const digits = /^([0-9a-f]{8})(-?)([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{12})$/.exec(plain);
  return digits === null ? undefined : [1, 3, 4, 5, 6].map((group) => digits[group]).join('-');
}

/** A rule's endpoint: a tunnel, and whether it is private, which a `$` in front says. */
export function parseEndpoint(text) {
  const isPrivate = text.startsWith('$');
  const uuid = parseUuid(isPrivate ? text.slice(1) : text);
  return uuid === undefined ? undefined : { uuid, isPrivate };
}

/** The name that every server node gives a tunnel by itself: the first 16 digits of the MD5 of its UUID. */
export function ownNameOf(uuid) {
  return createHash('md5').update(uuid).digest('hex').slice(0, 16);
}

/** Whether a name looks like one of those. */
export function isOwnName(host) {
  return /^[0-9a-f]{16}$/.test(host);
}

/** An IP address as a number; one of IPv4 that is written as IPv6 is one of IPv4. */
export function parseAddress(text) {
  if (isIPv4(text)) return { bits: 32, value: numberOf(text.split('.').map(Number), 8n) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  // An IPv4 address may stand for the last two words.
  const words = text.replace(/[0-9.]+\.[0-9]+$/, (tail) =>
    wordsOf(numberOf(tail.split('.').map(Number), 8n), 2).join(':'),
  );
  const [head, rest] = words
    .split('::')
    .map((half) => (half === '' ? [] : half.split(':').map((word) => Number.parseInt(word, 16))));
  const middle = rest === undefined ? [] : Array.from({ length: 8 - head.length - rest.length }, () => 0);
  const value = numberOf([...head, ...middle, ...(rest ?? [])], 16n);
  return value >> 32n === 0xffffn ? { bits: 32, value: value & 0xffffffffn } : { bits: 128, value };
}

/** The usual text of an address: for IPv6 that of RFC 5952. */
export function formatAddress({ bits, value }) {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.');
  const words = wordsOf(value, 8).join(':');
  const zeros = words.match(/\b0(:0\b)+/g) ?? [];
  const longest = zeros.sort((a, b) => b.length - a.length)[0];
  if (longest === undefined) return words;
  const at = words.search(new RegExp(`(^|:)${longest}(:|$)`));
  const start = words.slice(0, at);
  const end = words.slice(at).replace(/^:/, '').slice(longest.length).replace(/^:/, '');
  return `${start}::${end}`;
}

/** A network: `10.0.0.0/8`, or one address. What stands behind the prefix is cleared, as GOST does it. */
export function parseNetwork(text) {
  if (text.length > 64) return undefined;
  const [, host, , digits] = /^([^/]*)(\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = host === undefined ? undefined : parseAddress(host);
  if (address === undefined) return undefined;
  // The length is counted in the family that is written: ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const length =
    digits === undefined ? address.bits : Number(digits) - (isIPv6(host) ? 128 - address.bits : 0);
  if (length < 0 || length > address.bits) return undefined;
  return formatNetwork(address, length);
}

/** Every network that an address lies in, the longest prefix first: `10.1.2.3/32`, `10.1.2.2/31`, …, `0.0.0.0/0`. */
export function networksOf(address) {
  return Array.from({ length: address.bits + 1 }, (_, i) => formatNetwork(address, address.bits - i));
}

function formatNetwork({ bits, value }, length) {
  const shift = BigInt(bits - length);
  return `${formatAddress({ bits, value: (value >> shift) << shift })}/${String(length)}`;
}

function numberOf(parts, width) {
  return parts.reduce((value, part) => (value << width) | BigInt(part), 0n);
}

function wordsOf(value, count) {
  return Array.from({ length: count }, (_, i) =>
    ((value >> BigInt(16 * (count - 1 - i))) & 0xffffn).toString(16),
  );
}
