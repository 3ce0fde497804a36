import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type Certificate, parseCertificate } from './certificate.ts';

export interface SelfSignedOptions {
  /** DNS names and IP addresses, of which the first is its common name. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Makes a certificate that nobody has signed but its own key (ECDSA, P-256). Its shape is fixed, so that it takes the
 * few lines of DER below and no library.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-4.1
 */
export function makeSelfSigned({ names, notBefore, notAfter }: SelfSignedOptions): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKeyInfo = publicKey.export({ type: 'spki', format: 'der' });
  const signatureAlgorithm = sequence(oid(1, 2, 840, 10045, 4, 3, 2));
  const name = sequence(set(sequence(oid(2, 5, 4, 3), der(0x0c, Buffer.from(commonName(names))))));
  const toBeSigned = sequence(
    der(0xa0, integer(Buffer.of(2))),
    // Positive, and with more than the 64 random bits that are asked for.
    integer(Buffer.concat([Buffer.of(0x40), randomBytes(15)])),
    signatureAlgorithm,
    name,
    sequence(time(notBefore), time(notAfter)),
    name,
    publicKeyInfo,
    der(0xa3, sequence(...extensions(names, publicKeyInfo))),
  );
  const signature = sign('sha256', toBeSigned, privateKey);
  const certificate = sequence(toBeSigned, signatureAlgorithm, bitString(0, signature));
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return parseCertificate(new X509Certificate(certificate).toString(), key);
}

function extensions(names: readonly string[], publicKeyInfo: Buffer): Buffer[] {
  const extension = (id: number, isCritical: boolean, value: Buffer): Buffer =>
    sequence(oid(2, 5, 29, id), ...(isCritical ? [der(0x01, Buffer.of(0xff))] : []), der(0x04, value));
  const keyId = createHash('sha256').update(publicKeyInfo).digest().subarray(0, 20);
  return [
    // No authority, which is the default; key usage: digital signature; extended key usage: TLS server.
    extension(19, true, sequence()),
    extension(15, true, bitString(7, Buffer.of(0x80))),
    extension(37, false, sequence(oid(1, 3, 6, 1, 5, 5, 7, 3, 1))),
    extension(14, false, der(0x04, keyId)),
    extension(17, false, sequence(...names.map(generalName))),
  ];
}

function generalName(name: string): Buffer {
  if (isIP(name) === 0) return der(0x82, Buffer.from(name));
  return der(0x87, isIP(name) === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6Bytes(name));
}

function ipv6Bytes(address: string): Buffer {
  // URL writes IPv6 in one form, without an IPv4 tail.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string | undefined): number[] =>
    part ? part.split(':').map((group) => Number.parseInt(group, 16)) : [];
  const [first, last] = [groups(head), groups(tail)];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

/** At most 64 characters; whoever checks a name looks at the others. */
function commonName(names: readonly string[]): string {
  return names.find(({ length }) => length <= 64) ?? 'DockerProxy';
}

/** GeneralizedTime is for the years from 2050 on. */
function time(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, '');
  return Number(digits.slice(0, 4)) < 2050
    ? der(0x17, Buffer.from(digits.slice(2)))
    : der(0x18, Buffer.from(digits));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  if (length < 0x100) return Buffer.concat([Buffer.of(tag, 0x81, length), content]);
  return Buffer.concat([Buffer.of(tag, 0x82, length >> 8, length & 0xff), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function set(part: Buffer): Buffer {
  return der(0x31, part);
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function bitString(unusedBits: number, bytes: Buffer): Buffer {
  return der(0x03, Buffer.concat([Buffer.of(unusedBits), bytes]));
}

/** @see https://www.itu.int/rec/T-REC-X.690, 8.19 */
function oid(first: number, second: number, ...rest: number[]): Buffer {
  const base128 = (arc: number): number[] =>
    arc < 128 ? [arc] : [...base128(arc >> 7).map((digit) => digit | 0x80), arc & 0x7f];
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}
