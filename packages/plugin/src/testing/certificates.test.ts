import { X509Certificate, createPrivateKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createAuthority } from './certificates.ts';

describe('createAuthority', () => {
  const authority = createAuthority();
  const root = new X509Certificate(authority.cert);

  it('is an authority that signs itself', () => {
    expect(root.ca).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
    expect(root.checkPrivateKey(createPrivateKey(authority.key))).toBe(true);
  });

  it('issues certificates for names and addresses', () => {
    const { cert, key } = authority.issue({ names: ['plugin.test', '127.0.0.1', '2001:db8::1'] });
    const leaf = new X509Certificate(cert);
    expect(leaf.checkIssued(root)).toBe(true);
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(leaf.checkHost('plugin.test')).toBe('plugin.test');
    expect(leaf.checkHost('other.test')).toBeUndefined();
    expect(leaf.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(leaf.checkIP('2001:db8::1')).toBeDefined();
    expect(Date.parse(leaf.validTo)).toBeGreaterThan(Date.now());
  });

  it('lets one sign itself', () => {
    const leaf = new X509Certificate(authority.issue({ names: ['a'], selfSigned: true }).cert);
    expect(leaf.issuer).toBe(leaf.subject);
    expect(leaf.verify(leaf.publicKey)).toBe(true);
    expect(leaf.verify(root.publicKey)).toBe(false);
  });

  it('issues expired and future ones', () => {
    const expired = new X509Certificate(authority.issue({ names: ['a'], expired: true }).cert);
    expect(Date.parse(expired.validTo)).toBeLessThan(Date.now());
    const future = new X509Certificate(authority.issue({ names: ['a'], notYetValid: true }).cert);
    expect(Date.parse(future.validFrom)).toBeGreaterThan(Date.now());
  });
});
