import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';

/** A certificate and its key, both PEM. */
export interface IssuedCertificate {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate is for. */
export interface CertificateRequest {
  /** DNS names and IP addresses that it is valid for. The first is also its common name. */
  readonly names: readonly string[];
  /** True: it was valid until yesterday. */
  readonly expired?: boolean;
  /** True: it becomes valid tomorrow. */
  readonly notYetValid?: boolean;
  /** True: it is signed by its own key, and no authority answers for it. */
  readonly selfSigned?: boolean;
}

/** A certificate authority of a test. */
export interface Authority extends IssuedCertificate {
  /** Issues a certificate for servers and clients alike. */
  issue(request: CertificateRequest): IssuedCertificate;
}

const dayMs = 24 * 60 * 60 * 1000;

/**
 * Makes a certificate authority with a new key. It and what it issues (ECDSA on P-256) is for tests only: nobody else
 * trusts it, keys lie in memory, and nothing is valid for more than a month.
 */
export function createAuthority(commonName = 'Sallyport test authority'): Authority {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keyId = createHash('sha1')
    .update(pair.publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
  const now = Date.now();
  const isAuthority = [
    extension('2.5.29.19', true, sequence(boolean(true))),
    // Certificates and revocation lists may be signed.
    extension('2.5.29.15', true, tagged(0x03, Buffer.from([1, 0x06]))),
    extension('2.5.29.14', false, tagged(0x04, keyId)),
  ];
  const build = (
    subject: string,
    publicKey: KeyObject,
    [from, to]: readonly [number, number],
    extensions: readonly Buffer[],
    issuer: { readonly name: string; readonly key: KeyObject } = { name: commonName, key: pair.privateKey },
  ): string => {
    const algorithm = sequence(objectId('1.2.840.10045.4.3.2'));
    const body = sequence(
      tagged(0xa0, integer(Buffer.from([2]))),
      integer(serialNumber()),
      algorithm,
      name(issuer.name),
      sequence(time(from), time(to)),
      name(subject),
      publicKey.export({ type: 'spki', format: 'der' }),
      tagged(0xa3, sequence(...extensions)),
    );
    const signature = sign('sha256', body, issuer.key);
    return pem('CERTIFICATE', sequence(body, algorithm, bitString(signature)));
  };
  return {
    cert: build(commonName, pair.publicKey, [now - 2 * dayMs, now + 30 * dayMs], isAuthority),
    key: exportKey(pair.privateKey),
    issue: ({ names, expired = false, notYetValid = false, selfSigned = false }) => {
      const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      let validity: [number, number] = [now - dayMs, now + 30 * dayMs];
      if (expired) validity = [now - 2 * dayMs, now - dayMs];
      if (notYetValid) validity = [now + dayMs, now + 2 * dayMs];
      const extensions = [
        extension('2.5.29.19', true, sequence()),
        extension('2.5.29.15', true, tagged(0x03, Buffer.from([7, 0x80]))),
        extension('2.5.29.37', false, sequence(objectId('1.3.6.1.5.5.7.3.1'), objectId('1.3.6.1.5.5.7.3.2'))),
        ...(selfSigned ? [] : [extension('2.5.29.35', false, sequence(tagged(0x80, keyId)))]),
        extension('2.5.29.17', false, sequence(...names.map(alternativeName))),
      ];
      const subject = names[0] ?? 'nobody';
      const issuer = selfSigned ? { name: subject, key: own.privateKey } : undefined;
      return {
        cert: build(subject, own.publicKey, validity, extensions, issuer),
        key: exportKey(own.privateKey),
      };
    },
  };
}

function exportKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

// DER (ITU-T X.690) of what RFC 5280, section 4.1, puts into a certificate.

function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  let size = Buffer.from([length]);
  if (length > 0xff) size = Buffer.from([0x82, length >> 8, length & 0xff]);
  else if (length > 0x7f) size = Buffer.from([0x81, length]);
  return Buffer.concat([Buffer.from([tag]), size, content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, ...parts);
}

function integer(bytes: Buffer): Buffer {
  return tagged(0x02, bytes);
}

function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  // Positive, and no shorter than it looks: DER has one way to write a number.
  bytes[0] = 0x40 | (bytes[0]! & 0x3f);
  return bytes;
}

function boolean(value: boolean): Buffer {
  return tagged(0x01, Buffer.from([value ? 0xff : 0]));
}

function bitString(bytes: Buffer): Buffer {
  return tagged(0x03, Buffer.from([0]), bytes);
}

function objectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [40 * first + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tagged(0x06, Buffer.from(bytes));
}

function name(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(objectId('2.5.4.3'), tagged(0x0c, Buffer.from(commonName)))));
}

function time(ms: number): Buffer {
  // YYMMDDHHMMSSZ
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  return tagged(0x17, Buffer.from(text.slice(2)));
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  const parts = isCritical ? [boolean(true)] : [];
  return sequence(objectId(id), ...parts, tagged(0x04, value));
}

function alternativeName(text: string): Buffer {
  const version = isIP(text);
  if (version === 0) return tagged(0x82, Buffer.from(text));
  return tagged(0x87, version === 4 ? Buffer.from(text.split('.').map(Number)) : ipv6Bytes(text));
}

function ipv6Bytes(text: string): Buffer {
  const [head = '', tail] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => parseInt(group, 16));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  const bytes = Buffer.alloc(16);
  [...before, ...zeros, ...after].forEach((group, i) => bytes.writeUInt16BE(group, 2 * i));
  return bytes;
}
