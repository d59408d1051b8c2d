/** Ports from `min` to `max`, both included. */
export interface PortRange {
  readonly min: number;
  readonly max: number;
}

/** Reads `80` or `8000-8999`. Throws TypeError for anything else. */
export function parsePorts(text: string): PortRange {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const min = Number(match?.[1]);
  const max = Number(match?.[2] ?? match?.[1]);
  if (match === null || max > 65535 || min > max) {
    throw new TypeError(
      'has neither a port from 0 to 65535 nor a range such as `8000-8999` behind its colon',
    );
  }
  return { min, max };
}

/** True where no range limits the port, or the port is in it. */
export function hasPort(ports: PortRange | undefined, port: number): boolean {
  return ports === undefined || (port >= ports.min && port <= ports.max);
}

/**
 * Parts a rule or a target into its host and the text behind the last colon: `a.b:80`, `[::1]:80`. The brackets go. What
 * has several colons and no brackets is all host, as an IPv6 address is.
 */
export function splitPort(text: string): { readonly host: string; readonly port: string | undefined } {
  if (text.startsWith('[')) {
    const match = /^\[([^[\]]+)\](?::([^:]*))?$/.exec(text);
    if (match !== null) return { host: match[1]!, port: match[2] };
  }
  const colon = text.indexOf(':');
  if (colon < 0 || text.includes(':', colon + 1)) return { host: text, port: undefined };
  return { host: text.slice(0, colon), port: text.slice(colon + 1) };
}

/** What {@link splitPort} finds in a target; the port is 0 where there is none. */
export function splitTarget(target: string): { readonly host: string; readonly port: number } {
  const { host, port = '0' } = splitPort(target);
  return { host, port: /^\d{1,5}$/.test(port) ? Number(port) : 0 };
}
