import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { type Certificate, parseCertificate } from './certificate.ts';
import { bitString, der, integer, octetString, oid, sequence, set, time } from './der.ts';
import { subjectAltNames } from './subject-alt-names.ts';

export interface SelfSignedOptions {
  /** DNS names and IP addresses, of which the first is its common name. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** The digest of the key authorization, for a TLS-ALPN-01 challenge. */
  readonly acmeIdentifier?: Buffer;
}

/** id-pe-acmeIdentifier. @see https://www.rfc-editor.org/rfc/rfc8737#section-6.1 */
const ACME_IDENTIFIER = oid(1, 3, 6, 1, 5, 5, 7, 1, 31);

/**
 * Creates a certificate that is signed by its own key (ECDSA, P-256). Its shape is fixed, so that a few lines of DER
 * replace a library.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-4.1
 */
export function makeSelfSigned(options: SelfSignedOptions): Certificate {
  const { names, notBefore, notAfter } = options;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKeyInfo = publicKey.export({ type: 'spki', format: 'der' });
  const signatureAlgorithm = sequence(oid(1, 2, 840, 10045, 4, 3, 2));
  const name = sequence(set(sequence(oid(2, 5, 4, 3), der(0x0c, Buffer.from(commonName(names))))));
  const toBeSigned = sequence(
    der(0xa0, integer(Buffer.of(2))),
    // The serial number: positive, and with more than the required 64 random bits.
    integer(Buffer.concat([Buffer.of(0x40), randomBytes(15)])),
    signatureAlgorithm,
    name,
    sequence(time(notBefore), time(notAfter)),
    name,
    publicKeyInfo,
    der(0xa3, sequence(...extensions(options, publicKeyInfo))),
  );
  const signature = sign('sha256', toBeSigned, privateKey);
  const certificate = sequence(toBeSigned, signatureAlgorithm, bitString(0, signature));
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return parseCertificate(new X509Certificate(certificate).toString(), key);
}

function extensions({ names, acmeIdentifier }: SelfSignedOptions, publicKeyInfo: Buffer): Buffer[] {
  const critical = der(0x01, Buffer.of(0xff));
  const extension = (id: number, isCritical: boolean, value: Buffer): Buffer =>
    sequence(oid(2, 5, 29, id), ...(isCritical ? [critical] : []), octetString(value));
  const keyId = createHash('sha256').update(publicKeyInfo).digest().subarray(0, 20);
  return [
    // The extensions: not an authority, by default; key usage: digital signature; extended key usage: TLS server.
    extension(19, true, sequence()),
    extension(15, true, bitString(7, Buffer.of(0x80))),
    extension(37, false, sequence(oid(1, 3, 6, 1, 5, 5, 7, 3, 1))),
    extension(14, false, octetString(keyId)),
    extension(17, false, subjectAltNames(names)),
    ...(acmeIdentifier
      ? [sequence(ACME_IDENTIFIER, critical, octetString(octetString(acmeIdentifier)))]
      : []),
  ];
}

/** A common name has at most 64 characters. Clients check the alternative names instead. */
function commonName(names: readonly string[]): string {
  return names.find(({ length }) => length <= 64) ?? 'DockerProxy';
}
