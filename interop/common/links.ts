// The ways in which a client and a server of these suites are joined, and the certificates for them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createAuthority } from '../../packages/plugin/src/testing/certificates.ts';

export type LinkName = 'plain' | 'unix' | 'tls' | 'mtls';

/** Files that the peers read, with their content for our own side. */
export interface LinkFiles {
  readonly folder: string;
  readonly ca: string;
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: { readonly cert: string; readonly key: string };
  /** Writes a peer's script and returns the file's path. */
  script(content: unknown): string;
  /** The path of a file or socket in the folder. */
  at(name: string): string;
  remove(): void;
}

/** Makes a folder with an authority, a server's certificate for 127.0.0.1 and localhost, and a client's. */
export function createLinkFiles(): LinkFiles {
  const folder = mkdtempSync(path.join(tmpdir(), 'interop-'));
  const at = (name: string) => path.join(folder, name);
  const authority = createAuthority();
  const server = authority.issue({ names: ['localhost', '127.0.0.1'] });
  const client = authority.issue({ names: ['client.example'] });
  const content = {
    'ca.pem': authority.cert,
    'server.pem': server.cert,
    'server.key': server.key,
    'client.pem': client.cert,
    'client.key': client.key,
  };
  for (const [name, text] of Object.entries(content)) writeFileSync(at(name), text, { mode: 0o600 });
  let scripts = 0;
  return {
    folder,
    ca: authority.cert,
    server,
    client,
    script(value) {
      const file = at(`script-${String(scripts++)}.json`);
      writeFileSync(file, JSON.stringify(value));
      return file;
    },
    at,
    remove: () => rmSync(folder, { recursive: true }),
  };
}

/** A peer server's flags for a link. */
export function serverFlags(link: LinkName, files: LinkFiles): string[] {
  const { at } = files;
  if (link === 'plain') return [];
  if (link === 'unix') return ['-listen', `unix:${at('peer.sock')}`];
  const pair = ['-cert', at('server.pem'), '-key', at('server.key')];
  return link === 'tls' ? pair : [...pair, '-client-ca', at('ca.pem')];
}

/** A peer client's flags for a link. */
export function clientFlags(link: LinkName, files: LinkFiles): string[] {
  const { at } = files;
  if (link === 'plain' || link === 'unix') return [];
  const trust = ['-ca', at('ca.pem')];
  return link === 'tls' ? trust : [...trust, '-cert', at('client.pem'), '-key', at('client.key')];
}
