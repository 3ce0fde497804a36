import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { bitString, der, integer, octetString, oid, sequence, set, time } from '../../src/tls/der.ts';

/** The variable parts of a certificate. */
export interface Content {
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: readonly Buffer[];
}

export interface Authority {
  /** Its own certificate in PEM. */
  readonly root: string;
  /** Returns a certificate in PEM, whatever its content. */
  issue(content: Content): string;
}

const ECDSA_SHA256 = sequence(oid(1, 2, 840, 10045, 4, 3, 2));
const YEAR_MS = 31_536_000_000;

/** Creates an authority with a new key, which is valid for a year. */
export function createAuthority(commonName: string): Authority {
  const { privateKey, publicKey } = createKeyPair();
  const name = nameOf(commonName);
  const issue = ({ subject, publicKey, notBefore, notAfter, extensions }: Content): string => {
    const toBeSigned = sequence(
      der(0xa0, integer(Buffer.of(2))),
      integer(Buffer.concat([Buffer.of(0x40), randomBytes(15)])),
      ECDSA_SHA256,
      name,
      sequence(time(notBefore), time(notAfter)),
      subject,
      publicKey.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(...extensions)),
    );
    const signature = sign('sha256', toBeSigned, privateKey);
    return new X509Certificate(sequence(toBeSigned, ECDSA_SHA256, bitString(0, signature))).toString();
  };
  const isAuthority = critical(19, sequence(der(0x01, Buffer.of(0xff))));
  const times = { notBefore: Date.now() - YEAR_MS, notAfter: Date.now() + YEAR_MS };
  return { root: issue({ subject: name, publicKey, ...times, extensions: [isAuthority] }), issue };
}

export function createKeyPair(): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** The DER of a name that is a common name alone. */
export function nameOf(commonName: string): Buffer {
  return sequence(set(sequence(oid(2, 5, 4, 3), der(0x0c, Buffer.from(commonName)))));
}

/** A critical extension by the last number of its identifier. */
export function critical(id: number, value: Buffer): Buffer {
  return sequence(oid(2, 5, 29, id), der(0x01, Buffer.of(0xff)), octetString(value));
}
