import { createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';

/** A certificate and its key, both PEM. */
export interface CertificateAndKey {
  readonly cert: string;
  readonly key: string;
}

/** What a self-signed certificate says. */
export interface CertificateRequest {
  readonly commonName: string;
  readonly organization: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/**
 * Makes an ECDSA P-256 key and a certificate that it signs itself: for servers and clients, for the common name alone
 * (a DNS name or an IP address), and marked as an authority, so that a peer can name it as one it trusts. RFC 5280,
 * section 4.1, in the encoding of ITU-T X.690 (DER).
 */
export function createSelfSigned(request: CertificateRequest): CertificateAndKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = sequence(
    relative('2.5.4.10', request.organization),
    relative('2.5.4.3', request.commonName),
  );
  const algorithm = sequence(objectId('1.2.840.10045.4.3.2'));
  const body = sequence(
    // Version 3.
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    tagged(0x02, serialNumber()),
    algorithm,
    subject,
    sequence(time(request.notBefore), time(request.notAfter)),
    subject,
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    tagged(
      0xa3,
      sequence(
        // Basic constraints: an authority.
        extension('2.5.29.19', true, sequence(tagged(0x01, Buffer.from([0xff])))),
        // Key usage: digitalSignature and keyCertSign; two unused bits.
        extension('2.5.29.15', true, tagged(0x03, Buffer.from([2, 0x84]))),
        // Extended key usage: servers and clients.
        extension('2.5.29.37', false, sequence(objectId('1.3.6.1.5.5.7.3.1'), objectId('1.3.6.1.5.5.7.3.2'))),
        extension('2.5.29.17', false, sequence(alternativeName(request.commonName))),
      ),
    ),
  );
  const signature = tagged(0x03, Buffer.from([0]), sign('sha256', body, privateKey));
  return {
    cert: pem('CERTIFICATE', sequence(body, algorithm, signature)),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  };
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag, ...lengthOf(content.length)]), content]);
}

function lengthOf(length: number): readonly number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) bytes.unshift(left % 256);
  return [0x80 | bytes.length, ...bytes];
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, ...parts);
}

/** Positive, and no shorter than it looks: DER has one way to write a number. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = 0x40 | (bytes[0]! & 0x3f);
  return bytes;
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

/** One part of a name, as UTF-8. */
function relative(id: string, text: string): Buffer {
  return tagged(0x31, sequence(objectId(id), tagged(0x0c, Buffer.from(text))));
}

/** UTCTime up to 2049, GeneralizedTime after that (RFC 5280, section 4.1.2.5). */
function time(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]|\.\d+/g, '');
  return date.getUTCFullYear() < 2050
    ? tagged(0x17, Buffer.from(text.slice(2)))
    : tagged(0x18, Buffer.from(text));
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  const critical = isCritical ? [tagged(0x01, Buffer.from([0xff]))] : [];
  return sequence(objectId(id), ...critical, tagged(0x04, value));
}

function alternativeName(name: string): Buffer {
  switch (isIP(name)) {
    case 4:
      return tagged(0x87, Buffer.from(name.split('.').map(Number)));
    case 6:
      return tagged(0x87, ipv6Bytes(name));
    default:
      return tagged(0x82, Buffer.from(name));
  }
}

function ipv6Bytes(text: string): Buffer {
  // The URL parser knows every spelling, such as one with an IPv4 address at its end.
  const [head = '', tail] = new URL(`http://[${text}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const bytes = Buffer.alloc(16);
  before.forEach((group, i) => bytes.writeUInt16BE(group, 2 * i));
  after.forEach((group, i) => bytes.writeUInt16BE(group, 16 - 2 * (after.length - i)));
  return bytes;
}
