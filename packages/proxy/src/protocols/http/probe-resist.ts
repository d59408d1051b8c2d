import { readFile } from 'node:fs/promises';
import { get as getHttp, STATUS_CODES } from 'node:http';
import { get as getHttps } from 'node:https';
import { formatHead } from '@sallyport/plugin/wire';
import { canonicalTarget, parseAuthority } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { HttpRequest } from '../../core/http/request.ts';
import type { Session } from '../../core/session.ts';
import { wrongType } from '../../schema/read.ts';
import type { Reader } from '../../schema/read.ts';

/** What a stranger is shown in place of a proxy: a status, a file, a page of the web, or another server. */
export type ProbeResist =
  | { readonly kind: 'code'; readonly status: number }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'web'; readonly url: string }
  | { readonly kind: 'host'; readonly address: Address };

/** How long the page may take, and how large it may be. */
const pageMs = 10_000;
const maxPageBytes = 1024 * 1024;

/** GOST's `code:404`, `file:/path`, `web:example.com` and `host:example.com:443`. */
export const probeResist: Reader<ProbeResist> = (value, path, reading) => {
  const wanted = 'one of `code:404`, `file:/path`, `web:example.com`, `host:example.com:80`';
  const match = value.kind === 'scalar' ? /^(code|file|web|host):(.+)$/.exec(value.text) : null;
  const found = match === null ? undefined : parse(match[1]!, match[2]!);
  return found ?? wrongType(value, path, reading, wanted);
};

function parse(kind: string, text: string): ProbeResist | undefined {
  try {
    switch (kind) {
      case 'code':
        return /^[2-5]\d\d$/.test(text) ? { kind, status: Number(text) } : undefined;
      case 'file':
        return { kind, path: text };
      case 'web': {
        const url = /^https?:\/\//i.test(text) ? text : `http://${text}`;
        return URL.canParse(url) ? { kind, url } : undefined;
      }
      default:
        return { kind: 'host', address: canonicalTarget(parseAuthority(text, 80)) };
    }
  } catch (error) {
    // No host and port; whoever reads the file says so.
    if (error instanceof ProxyError) return undefined;
    throw error;
  }
}

/**
 * Answers a stranger as another server would, in place of "this is a proxy". `request` is undefined where it was none: then
 * it is 400, as of any server. Where the decoy cannot be had it is 503. Resolves when the answer was sent.
 */
export async function resistProbe(
  decoy: ProbeResist,
  client: Conn,
  session: Session,
  request: HttpRequest | undefined,
): Promise<void> {
  if (request === undefined) return client.write(reply(400));
  const { progress } = request;
  const send = (status: number, type?: string, body?: Buffer) => {
    progress.status = status;
    return client.write(reply(status, type, request.head.method === 'HEAD' ? Buffer.alloc(0) : body));
  };
  try {
    switch (decoy.kind) {
      case 'code':
        return await send(decoy.status);
      case 'file':
        return await send(200, 'text/html; charset=utf-8', await readFile(decoy.path));
      case 'web': {
        const { status, type, body } = await fetchPage(decoy.url);
        return await send(status, type, body);
      }
      case 'host':
        return await passOn(decoy.address, client, session, request);
    }
  } catch {
    // Why it cannot be had is no business of a stranger's, and none of the session's either.
    if (progress.status === undefined) await send(503);
  }
}

function reply(status: number, type?: string, body: Buffer = Buffer.alloc(0)): Buffer {
  const fields = [
    ...(type === undefined ? [] : ['Content-Type', type]),
    'Content-Length',
    String(body.length),
  ];
  const head = formatHead(`HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? 'Unknown'}`, [
    ...fields,
    'Connection',
    'close',
  ]);
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

/** The stranger speaks to that server from now on, with the request that it made. */
async function passOn(
  address: Address,
  client: Conn,
  session: Session,
  { head, requests, progress }: HttpRequest,
): Promise<void> {
  const upstream = await session.open(address);
  progress.status = 200;
  requests.release();
  const line = `${head.method} ${head.target} HTTP/${head.version}`;
  await upstream.write(Buffer.from(formatHead(line, head.headers), 'latin1'));
  await session.relay(client, upstream);
}

function fetchPage(url: string): Promise<{ status: number; type: string; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const get = url.toLowerCase().startsWith('https:') ? getHttps : getHttp;
    const request = get(url, { signal: AbortSignal.timeout(pageMs), agent: false }, (response) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on('data', (part: Buffer) => {
        parts.push(part);
        bytes += part.length;
        if (bytes > maxPageBytes) request.destroy(new Error('the page is too large'));
      });
      response.on('error', reject);
      response.on('end', () => {
        const type = response.headers['content-type'] ?? 'text/html';
        resolve({ status: response.statusCode!, type, body: Buffer.concat(parts) });
      });
    });
    request.on('error', reject);
  });
}
