import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { bitString, der, integer, octetString, oid, sequence, set } from '../der.ts';
import { subjectAltNames } from '../subject-alt-names.ts';

/**
 * Creates a certificate signing request for DNS names, in DER. As with certbot, the subject is empty: a common name is
 * limited to 64 characters, and authorities no longer include one in the certificate.
 *
 * @param key an ECDSA key of the curve P-256
 * @see https://www.rfc-editor.org/rfc/rfc2986#section-4
 */
export function makeSigningRequest(key: KeyObject, names: readonly string[]): Buffer {
  const extensions = sequence(sequence(oid(2, 5, 29, 17), octetString(subjectAltNames(names))));
  const extensionRequest = sequence(oid(1, 2, 840, 113_549, 1, 9, 14), set(extensions));
  const toBeSigned = sequence(
    integer(Buffer.of(0)),
    sequence(),
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    der(0xa0, extensionRequest),
  );
  const signature = sign('sha256', toBeSigned, key);
  return sequence(toBeSigned, sequence(oid(1, 2, 840, 10045, 4, 3, 2)), bitString(0, signature));
}
