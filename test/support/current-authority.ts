import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { bitString, der, integer, octetString, oid, sequence, set, time } from '../../src/tls/der.ts';
import { subjectAltNames } from '../../src/tls/subject-alt-names.ts';
import type { AcmeAnswer } from './acme-proxy.ts';

/** Makes an older pebble answer as authorities of today do. */
export interface CurrentAuthority {
  /** PEM of the root of its certificates. */
  readonly root: string;
  /** For the `alter` of an AcmeProxy. */
  alter(answer: AcmeAnswer): void;
}

interface Content {
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: Buffer[];
}

const ECDSA_SHA256 = sequence(oid(1, 2, 840, 10045, 4, 3, 2));
const NAME = sequence(set(sequence(oid(2, 5, 4, 3), der(0x0c, Buffer.from('authority of today')))));
const YEAR_MS = 31_536_000_000;

/**
 * Answers like pebble 2.10 and Let's Encrypt's profiles tlsserver and shortlived. The response to finalize has no
 * Location. The certificate keeps its key, time, and names, but has no subject, a critical subjectAltName, and a link
 * to another chain.
 */
export function createCurrentAuthority(): CurrentAuthority {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issue = ({ subject, publicKey, notBefore, notAfter, extensions }: Content): string => {
    const toBeSigned = sequence(
      der(0xa0, integer(Buffer.of(2))),
      integer(Buffer.concat([Buffer.of(0x40), randomBytes(15)])),
      ECDSA_SHA256,
      NAME,
      sequence(time(notBefore), time(notAfter)),
      subject,
      publicKey.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(...extensions)),
    );
    const signature = sign('sha256', toBeSigned, privateKey);
    return new X509Certificate(sequence(toBeSigned, ECDSA_SHA256, bitString(0, signature))).toString();
  };
  const isAuthority = sequence(der(0x01, Buffer.of(0xff)));
  const times = { notBefore: Date.now() - YEAR_MS, notAfter: Date.now() + YEAR_MS };
  const root = issue({ subject: NAME, publicKey, ...times, extensions: [critical(19, isAuthority)] });

  const reissue = (pem: string): string => {
    const leaf = new X509Certificate(pem);
    const names = (leaf.subjectAltName ?? '').split(', ').map((name) => name.replace(/^DNS:/, ''));
    return issue({
      ...{
        subject: sequence(),
        publicKey: leaf.publicKey,
        extensions: [critical(17, subjectAltNames(names))],
      },
      ...{ notBefore: leaf.validFromDate.getTime(), notAfter: leaf.validToDate.getTime() },
    });
  };
  return {
    root,
    alter(answer) {
      if (/finalize/.test(answer.path)) delete answer.headers.location;
      if (answer.status === 200 && /certZ/.test(answer.path)) {
        answer.body = `${reissue(answer.body)}${root}`;
        answer.headers.link = `<${answer.path}/alternate/1>;rel="alternate"`;
      }
    },
  };
}

function critical(id: number, value: Buffer): Buffer {
  return sequence(oid(2, 5, 29, id), der(0x01, Buffer.of(0xff)), octetString(value));
}
