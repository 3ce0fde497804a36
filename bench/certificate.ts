import { join } from 'node:path';
import { runOrThrow } from '../test/support/process.ts';

/** Paths of PEM files. */
export interface Certificate {
  certificate: string;
  key: string;
}

const KEYS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa: ['-newkey', 'rsa:2048'],
};

/** A self-signed certificate for 127.0.0.1. */
export async function makeCertificate(folder: string, kind: keyof typeof KEYS = 'ec'): Promise<Certificate> {
  const files = { certificate: join(folder, 'certificate.pem'), key: join(folder, 'key.pem') };
  const key = [...KEYS[kind], '-nodes', '-keyout', files.key];
  const name = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2'];
  await runOrThrow('openssl', ['req', '-x509', ...key, ...name, '-out', files.certificate]);
  return files;
}
