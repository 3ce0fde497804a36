import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runOrThrow } from './process.ts';

/** Folders as DOCKER_CERT_PATH names them: ca.pem, cert.pem and key.pem in each. */
export interface Certificates {
  server: string;
  client: string;
}

/** An authority with a certificate for 127.0.0.1, or `docker`, and one for a client, made by openssl for a day. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const authority = { cert: join(folder, 'ca.pem'), key: join(folder, 'ca-key.pem') };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await runOrThrow('openssl', [
    ...['req', '-x509', ...newKey, '-days', '1', '-subj', '/CN=test authority'],
    ...['-out', authority.cert, '-keyout', authority.key],
  ]);
  const issue = async (name: string, extensions: string): Promise<string> => {
    const target = join(folder, name);
    await mkdir(target);
    const [request, file] = [join(target, 'request.pem'), join(target, 'extensions')];
    await writeFile(file, extensions);
    await runOrThrow('openssl', [
      ...['req', ...newKey, '-subj', `/CN=${name}`, '-keyout', join(target, 'key.pem'), '-out', request],
    ]);
    await runOrThrow('openssl', [
      ...['x509', '-req', '-in', request, '-CA', authority.cert, '-CAkey', authority.key, '-CAcreateserial'],
      ...['-days', '1', '-extfile', file, '-out', join(target, 'cert.pem')],
    ]);
    await runOrThrow('cp', [authority.cert, join(target, 'ca.pem')]);
    return target;
  };
  return {
    server: await issue(
      'server',
      'subjectAltName = IP:127.0.0.1, DNS:docker\nextendedKeyUsage = serverAuth\n',
    ),
    client: await issue('client', 'extendedKeyUsage = clientAuth\n'),
  };
}
