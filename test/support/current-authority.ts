import { X509Certificate } from 'node:crypto';
import { sequence } from '../../src/tls/der.ts';
import { subjectAltNames } from '../../src/tls/subject-alt-names.ts';
import type { AcmeAnswer } from './acme-proxy.ts';
import { createAuthority, critical } from './authority.ts';

/** Makes an older pebble answer as authorities of today do. */
export interface CurrentAuthority {
  /** PEM of the root of its certificates. */
  readonly root: string;
  /** For the `alter` of an AcmeProxy. */
  alter(answer: AcmeAnswer): void;
}

/**
 * Answers like pebble 2.10 and Let's Encrypt's profiles tlsserver and shortlived. The response to finalize has no
 * Location. The certificate keeps its key, time, and names, but has no subject, a critical subjectAltName, and a link
 * to another chain.
 */
export function createCurrentAuthority(): CurrentAuthority {
  const { root, issue } = createAuthority('authority of today');
  const reissue = (pem: string): string => {
    const leaf = new X509Certificate(pem);
    const names = (leaf.subjectAltName ?? '').split(', ').map((name) => name.replace(/^DNS:/, ''));
    return issue({
      subject: sequence(),
      publicKey: leaf.publicKey,
      notBefore: leaf.validFromDate.getTime(),
      notAfter: leaf.validToDate.getTime(),
      extensions: [critical(17, subjectAltNames(names))],
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
