import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { oid, sequence } from '../../src/tls/der.ts';
import { subjectAltNames } from '../../src/tls/subject-alt-names.ts';
import { createAuthority, createKeyPair, critical, nameOf } from './authority.ts';

/** Folders as DOCKER_CERT_PATH names them: ca.pem, cert.pem and key.pem in each. */
export interface Certificates {
  server: string;
  client: string;
}

const DAY_MS = 86_400_000;
const SERVER_USE = critical(37, sequence(oid(1, 3, 6, 1, 5, 5, 7, 3, 1)));
const CLIENT_USE = critical(37, sequence(oid(1, 3, 6, 1, 5, 5, 7, 3, 2)));

/** Makes an authority with a certificate for 127.0.0.1, or `docker`, and one for a client, which are valid for a day. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const authority = createAuthority('test authority');
  const times = { notBefore: Date.now() - DAY_MS, notAfter: Date.now() + DAY_MS };
  await writeFile(join(folder, 'ca.pem'), authority.root);
  const issue = async (name: string, ...extensions: Buffer[]): Promise<string> => {
    const target = join(folder, name);
    const { privateKey, publicKey } = createKeyPair();
    await mkdir(target);
    await writeFile(join(target, 'ca.pem'), authority.root);
    const certificate = authority.issue({ subject: nameOf(name), publicKey, ...times, extensions });
    await writeFile(join(target, 'cert.pem'), certificate);
    await writeFile(join(target, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    return target;
  };
  return {
    server: await issue('server', SERVER_USE, critical(17, subjectAltNames(['127.0.0.1', 'docker']))),
    client: await issue('client', CLIENT_USE),
  };
}
