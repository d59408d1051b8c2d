import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority } from '../testing/certificates.ts';
import { readDefaultRoots, secureContextFor } from './trust.ts';

const authorities = ['a', 'b', 'c', 'd'].map((name) => createAuthority(name).cert.trim());
const [a, b, c, d] = authorities as [string, string, string, string];

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-'));
});
afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

function write(name: string, text: string): string {
  const file = path.join(folder, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
  return file;
}

describe('readDefaultRoots', () => {
  it('puts the system’s store, Node’s roots and the extra file together, each root once', () => {
    write('one/a.pem', `# a comment\n${a}\n`);
    write('two/b.crt', `${b}\n${a}\n`);
    const env = {
      SSL_CERT_FILE: write('bundle.pem', `${c}\n${rootCertificates[0]}\n`),
      SSL_CERT_DIR: [path.join(folder, 'one'), path.join(folder, 'none'), path.join(folder, 'two')].join(
        path.delimiter,
      ),
      NODE_EXTRA_CA_CERTS: write('extra.pem', d),
    };
    const roots = readDefaultRoots(env);
    for (const root of authorities) expect(roots.filter((found) => found === root)).toHaveLength(1);
    expect(roots.length).toBeGreaterThanOrEqual(rootCertificates.length + 4);
    expect(new Set(roots).size).toBe(roots.length);
  });

  it('has Node’s roots where nothing can be read', () => {
    const none = path.join(folder, 'none');
    const roots = readDefaultRoots({ SSL_CERT_FILE: none, SSL_CERT_DIR: none, NODE_EXTRA_CA_CERTS: none });
    expect(roots.length).toBeGreaterThanOrEqual(rootCertificates.length);
  });
});

describe('secureContextFor', () => {
  it('makes a context once for the same settings', () => {
    const settings = { ca: [a] };
    expect(secureContextFor(settings)).toBe(secureContextFor(settings));
    expect(secureContextFor({ ca: [a] })).not.toBe(secureContextFor(settings));
    expect(secureContextFor({ serverName: 'x' })).toBe(secureContextFor({}));
    expect(secureContextFor({ verify: false })).not.toBe(secureContextFor({}));
  });
});
