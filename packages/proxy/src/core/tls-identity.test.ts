import { X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSelfSigned } from './certificate.ts';
import { findIdentity } from './tls-identity.ts';
import type { IdentityOptions } from './tls-identity.ts';

function defaultIdentity(options: IdentityOptions) {
  const warnings: string[] = [];
  const identity = findIdentity({
    ...options,
    note: (text, level) => level === 'warn' && warnings.push(text),
  });
  return { ...identity, warnings };
}

let folder: string;
let home: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'identity-'));
  home = join(folder, 'home');
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('a certificate of our own making', () => {
  test('is valid for its name, its time, servers, clients, and as an authority', () => {
    const { cert, key } = createSelfSigned({
      commonName: 'proxy.test',
      organization: 'Ours',
      notBefore: new Date('2026-01-02T03:04:05Z'),
      notAfter: new Date('2055-01-02T03:04:05Z'),
    });
    const leaf = new X509Certificate(cert);
    expect(leaf.subject).toBe('O=Ours\nCN=proxy.test');
    expect(leaf.issuer).toBe(leaf.subject);
    expect(leaf.subjectAltName).toBe('DNS:proxy.test');
    expect(leaf.ca).toBe(true);
    expect(leaf.verify(leaf.publicKey)).toBe(true);
    expect(leaf.checkIssued(leaf)).toBe(true);
    expect(leaf.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(leaf.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(new Date(leaf.validFrom).toISOString()).toBe('2026-01-02T03:04:05.000Z');
    expect(new Date(leaf.validTo).toISOString()).toBe('2055-01-02T03:04:05.000Z');
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  });

  test('takes any name that can stand in a file', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.ipV4(),
          fc.ipV6(),
          fc.domain(),
          fc.string({ minLength: 1, maxLength: 300, unit: 'grapheme' }),
        ),
        (commonName) => {
          const { cert } = createSelfSigned({
            commonName,
            organization: commonName,
            notBefore: new Date(0),
            notAfter: new Date(1e13),
          });
          const leaf = new X509Certificate(cert);
          return leaf.verify(leaf.publicKey) && leaf.toLegacyObject().raw.length > 0;
        },
      ),
      { numRuns: 60 },
    );
    const { cert } = createSelfSigned({
      commonName: '2001:db8::192.0.2.1',
      organization: 'x',
      notBefore: new Date(0),
      notAfter: new Date(1e13),
    });
    expect(new X509Certificate(cert).checkIP('2001:db8::c000:201')).toBeDefined();
  });
});

describe('the certificate of listeners that name none', () => {
  test('is made once and kept, for us alone', () => {
    const first = defaultIdentity({
      folder,
      home,
      commonName: 'a.test',
      organization: 'O',
      validityMs: 86_400_000,
    });
    expect(first.warnings).toEqual([]);
    expect(defaultIdentity({ folder, home })).toMatchObject({
      cert: first.cert,
      key: first.key,
      warnings: [],
    });
    const files = readdirSync(join(home, '.gost'));
    expect(files.sort()).toEqual(['auto-ca-cert.pem', 'auto-ca-key.pem']);
    for (const file of files) expect(statSync(join(home, '.gost', file)).mode & 0o777).toBe(0o600);
    const leaf = new X509Certificate(first.cert);
    expect(leaf.subject).toBe('O=O\nCN=a.test');
    expect(Date.parse(leaf.validTo) - Date.now()).toBeLessThanOrEqual(86_400_000);
  });

  test('is cert.pem and key.pem of the working directory where they are there', () => {
    const kept = defaultIdentity({ folder, home });
    const ours = createSelfSigned({
      commonName: 'mine',
      organization: 'x',
      notBefore: new Date(0),
      notAfter: new Date(1e13),
    });
    writeFileSync(join(folder, 'cert.pem'), ours.cert);
    expect(defaultIdentity({ folder, home }).cert).toBe(kept.cert);
    writeFileSync(join(folder, 'key.pem'), ours.key);
    expect(defaultIdentity({ folder, home })).toMatchObject({ ...ours, warnings: [] });
  });

  test('is never one that cannot be used, and somebody is told', () => {
    const other = createSelfSigned({
      commonName: 'x',
      organization: 'x',
      notBefore: new Date(0),
      notAfter: new Date(1e12),
    });
    const good = defaultIdentity({ home: join(folder, 'elsewhere'), folder });
    mkdirSync(join(home, '.gost'), { recursive: true });
    const kept = {
      cert: join(home, '.gost', 'auto-ca-cert.pem'),
      key: join(home, '.gost', 'auto-ca-key.pem'),
    };
    const cases: readonly (readonly [string, string, RegExp])[] = [
      ['nonsense', good.key, /no certificate in PEM form/],
      [good.cert, 'nonsense', /no private key in PEM form/],
      [good.cert, other.key, /another's/],
      [other.cert, other.key, /has expired/],
    ];
    for (const [cert, key, warning] of cases) {
      writeFileSync(kept.cert, cert);
      writeFileSync(kept.key, key);
      const made = defaultIdentity({ folder, home });
      expect(made.warnings).toEqual([expect.stringMatching(warning)]);
      expect(made.cert).toBe(readFileSync(kept.cert, 'utf8'));
      expect(defaultIdentity({ folder, home }).warnings).toEqual([]);
    }
  });

  test('is used although it cannot be kept', () => {
    writeFileSync(home, 'a file where a folder should be');
    const made = defaultIdentity({ folder, home });
    expect(made.warnings.at(-1)).toMatch(/cannot be kept/);
    expect(new X509Certificate(made.cert).checkPrivateKey(createPrivateKey(made.key))).toBe(true);
  });
});
