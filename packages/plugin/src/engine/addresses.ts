import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { ModuleKind, PluginTransport } from '../contract.ts';
import { PluginError } from '../errors.ts';
import type { Endpoint, TlsSettings } from '../wire/endpoint.ts';
import { wellFormed } from '../wire/json-read.ts';

/** An endpoint together with the credentials that stood in its URL. */
export interface PluginEndpoint extends Endpoint {
  /** HTTP only: the `Authorization` of `http://user:password@host`. As in Go it wins over a token. */
  readonly authorization?: string;
}

/** What the addresses of a configuration come to. */
export interface ParsedEndpoints {
  /** In the order in which they are written, which is the order in which they are tried. Never empty. */
  readonly endpoints: readonly PluginEndpoint[];
  /** What is accepted because GOST accepts it, and worth a line in the log. Holds no credentials. */
  readonly warnings: readonly string[];
}

/**
 * Reads a plugin's addresses. Each text is one endpoint, or several with commas between them; a comma counts only before
 * something that is itself an address, so that it may stand in a path or a query.
 *
 * gRPC takes `host:port`, `unix:/path`, grpc-go's `dns:///`, `passthrough:///` and `unix:///`, and `grpc://` or
 * `grpcs://`. HTTP takes what GOST takes, a URL; one without a scheme gets `http://` (`https://` where `tls` is given),
 * one without a path gets the module's usual one, and `unix:/path` may be followed by `:/path/of/the/url`. A scheme, path
 * or query that is written is used as it is.
 *
 * Throws PluginError `unreachable` that says what would be right. Neither it nor an endpoint's `url` shows credentials.
 */
export function parseEndpoints(
  kind: ModuleKind,
  transport: PluginTransport,
  addr: string | readonly string[],
  tls?: TlsSettings,
): ParsedEndpoints {
  const warnings: string[] = [];
  const texts = typeof addr === 'string' ? [addr] : addr;
  const endpoints = texts.flatMap(splitAddresses).map((text) => {
    try {
      if (text === '') throw new Error('it is empty');
      if (text.startsWith('unix:')) return unixEndpoint(text, kind, transport, tls);
      return transport === 'grpc' ? grpcEndpoint(text, tls) : httpEndpoint(text, kind, tls, warnings);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new PluginError(
        'unreachable',
        `"${withoutCredentials(text)}" is no address of a plugin: ${reason}`,
        {
          cause,
          unsent: true,
        },
      );
    }
  });
  if (endpoints.length === 0) throw new PluginError('unreachable', 'there is no address', { unsent: true });
  return { endpoints, warnings };
}

/**
 * What can stand after a comma: `scheme://…`, `unix:…`, or a host with a port. A bare name or number could as well be a
 * part of a path or query, so it does not count.
 */
const addressAhead =
  /^\s*(?:(?:https?|grpcs?):\/\/|(?:dns|passthrough):|unix:|(?:\[[\da-f:.%\w]+\]|(?!\d+:)[\p{L}\p{N}._-]*):\d{1,5}(?=$|[\s,/?]))/iu;

function splitAddresses(text: string): string[] {
  const found: string[] = [];
  let start = 0;
  for (let comma = text.indexOf(','); comma >= 0; comma = text.indexOf(',', comma + 1)) {
    if (!addressAhead.test(text.slice(comma + 1))) continue;
    found.push(text.slice(start, comma).trim());
    start = comma + 1;
  }
  found.push(text.slice(start).trim());
  return found;
}

function unixEndpoint(
  text: string,
  kind: ModuleKind,
  transport: PluginTransport,
  tls: TlsSettings | undefined,
): PluginEndpoint {
  const rest = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
  if (rest.startsWith('//')) throw new Error(`a socket file has no host; write \`unix:${rest.slice(1)}\``);
  const colon = transport === 'http' ? rest.indexOf(':/') : -1;
  const file = colon < 0 ? rest : rest.slice(0, colon);
  if (file === '') throw new Error('the socket file is missing; write `unix:/path/of/the/socket`');
  // The system's limit (sun_path) is 108 bytes with the NUL; a longer path would be cut to that of another file.
  if (Buffer.byteLength(file) > 107) throw new Error('the path of a socket file may have 107 bytes at most');
  if (file.includes('\0')) throw new Error('the path of a socket file holds no NUL');
  const authority = (transport === 'grpc' && tls?.serverName) || 'localhost';
  if (transport === 'grpc') return { url: `unix:${file}`, connect: { path: file }, tls, authority };
  const path = target(colon < 0 ? '' : rest.slice(colon + 1), kind);
  return { url: `unix:${file}:${withoutQuery(path)}`, connect: { path: file }, tls, authority, path };
}

function grpcEndpoint(text: string, tls: TlsSettings | undefined): PluginEndpoint {
  const written = /^([a-z][a-z\d+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  let rest = text;
  let settings = tls;
  if (written === 'http' || written === 'https')
    throw new Error(`a URL is for \`type: http\`; for gRPC write \`host:port\``);
  if (written === 'grpc' || written === 'grpcs') {
    rest = text.slice(written.length + 3);
    if (written === 'grpc' && tls !== undefined)
      throw new Error('grpc:// is plain text, yet there is `tls`; write grpcs:// or remove `tls`');
    if (written === 'grpcs') settings = tls ?? {};
  } else {
    const resolver = /^(dns|passthrough):(?:\/\/([^/]*)\/)?(?!\/)/i.exec(text);
    if (resolver !== null) {
      if (resolver[2]) throw new Error(`names are looked up by the system; write \`dns:///host:port\``);
      rest = text.slice(resolver[0].length);
    } else if (written !== undefined) {
      throw new Error(`${written}:// is not known; write \`host:port\` or \`unix:/path\``);
    }
  }
  if (rest.includes('@'))
    throw new Error('a gRPC address holds no credentials; `token` is the place for them');
  if (/[/?#]/.test(rest)) throw new Error('a gRPC address has no path; write `host:port`');
  const { host, port = settings && 443, authority } = hostAndPort(rest);
  if (port === undefined) throw new Error(`the port is missing; write \`${authority}:port\``);
  const full = authority.endsWith(`:${port}`) ? authority : `${authority}:${port}`;
  return {
    url: `${settings === undefined ? 'grpc' : 'grpcs'}://${full}`,
    connect: { host, port },
    tls: settings,
    authority: settings?.serverName || full,
  };
}

function httpEndpoint(
  text: string,
  kind: ModuleKind,
  tls: TlsSettings | undefined,
  warnings: string[],
): PluginEndpoint {
  const [, scheme, userinfo, authorityText = '', rest = ''] =
    /^(?:([a-z][a-z\d+.-]*):\/\/)?(?:([^/?#]*)@)?([^/?#]*)(.*)$/is.exec(text)!;
  const protocol = scheme?.toLowerCase() ?? (tls === undefined ? 'http' : 'https');
  if (protocol === 'grpc' || protocol === 'grpcs')
    throw new Error(`${protocol}:// is for \`type: grpc\`; for HTTP write \`http://host:port/path\``);
  if (protocol !== 'http' && protocol !== 'https')
    throw new Error(`${protocol}:// is not known; write \`http://\`, \`https://\` or \`unix:/path\``);
  // What looks like a port could be a password then, and must not be shown.
  if (userinfo === undefined && rest.includes('@') && !/^([^:]*|\[.*\])(:\d*)?$/.test(authorityText))
    throw new Error('in credentials write %2F for /, %3F for ? and %23 for #');
  const secure = protocol === 'https';
  const { host, port = secure ? 443 : 80, authority } = hostAndPort(authorityText);
  const path = target(rest, kind);
  const url = `${protocol}://${authority}${withoutQuery(path)}`;
  if (!secure && tls !== undefined)
    warnings.push(`${url} is asked in plain text, as in GOST: its http:// counts, and \`tls\` is not used`);
  return {
    url,
    connect: { host, port },
    tls: secure ? (tls ?? {}) : undefined,
    authority,
    path,
    authorization: userinfo === undefined ? undefined : basicAuthorization(userinfo),
  };
}

interface HostAndPort {
  readonly host: string;
  readonly port: number | undefined;
  /** As it is written, without an IPv6 zone, which means something on this machine only (RFC 6874, section 1). */
  readonly authority: string;
}

function hostAndPort(text: string): HostAndPort {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([^:]*))?$/.exec(text);
  if (match === null) {
    if (isIP(text) === 6) throw new Error(`an IPv6 address stands in brackets; write \`[${text}]:port\``);
    throw new Error('write `host:port`');
  }
  const [, bracketed, name, portText] = match;
  const port = portText === undefined ? undefined : Number(portText);
  if (portText !== undefined && (!/^\d{1,5}$/.test(portText) || port! < 1 || port! > 65535))
    throw new Error(`"${portText}" is no port; a port is a number from 1 to 65535`);
  const suffix = portText === undefined ? '' : `:${portText}`;
  if (bracketed !== undefined) {
    const host = bracketed.replace(/%25/, '%');
    if (isIP(host) !== 6) throw new Error(`"${bracketed}" is no IPv6 address, and brackets are for these`);
    return { host, port, authority: `[${host.replace(/%.*$/, '')}]${suffix}` };
  }
  if (name === '') {
    if (port === undefined) throw new Error('the host is missing; write `host:port`');
    // As in Go, where no host means this machine.
    return { host: 'localhost', port, authority: `localhost${suffix}` };
  }
  const host = /^[\x20-\x7e]*$/.test(name!) ? name! : domainToASCII(name!);
  if (!/^[\w.-]+$/.test(host)) throw new Error(`"${name}" is no name of a host`);
  if (/^\d+$/.test(host)) throw new Error(`"${host}" is a number, not a host; write \`host:${host}\``);
  return { host, port, authority: `${host}${suffix}` };
}

/** Path and query for the request line: what must not stand there is percent-encoded, all else is left as written. */
function target(rest: string, kind: ModuleKind): string {
  const sent = rest
    .replace(/#.*$/s, '')
    .replace(/[^\x21-\x7e]+/gu, (part) => encodeURIComponent(wellFormed(part)));
  if (sent === '') return `/${kind}`;
  return sent.startsWith('?') ? `/${kind}${sent}` : sent;
}

/** A query may hold a key or a token, so it is never shown. */
function withoutQuery(path: string): string {
  const question = path.indexOf('?');
  return question < 0 ? path : path.slice(0, question);
}

function basicAuthorization(userinfo: string): string {
  const colon = userinfo.indexOf(':');
  const user = colon < 0 ? userinfo : userinfo.slice(0, colon);
  const password = colon < 0 ? '' : userinfo.slice(colon + 1);
  try {
    const text = `${decodeURIComponent(user)}:${decodeURIComponent(password)}`;
    return `Basic ${Buffer.from(text).toString('base64')}`;
  } catch {
    throw new Error('its credentials hold a % that is no escape; write %25');
  }
}

function withoutCredentials(text: string): string {
  return text.replace(/^((?:[a-z][a-z\d+.-]*:\/\/)?)[^?#]*@/is, '$1').replace(/[?#].*$/s, '');
}
