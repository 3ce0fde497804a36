import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { unreadableFile } from '../util/unreadable-file.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { type CertificateFailure, type CertificateProvider, stateOf } from './certificate-provider.ts';

export interface FilesProviderOptions {
  /** Paths of PEM files. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly log: FilesLog;
}

export interface FilesLog {
  reloaded(certificate: Certificate): void;
  /** Called if the files cannot be served. The certificate in use stays. */
  kept(failure: CertificateFailure): void;
}

/**
 * Milliseconds. Files are polled instead of watched. A certificate may change by a rename, a moved link, or over a
 * network, and the kernel does not report all of these.
 */
const INTERVAL_MS = 2000;

/**
 * Serves a certificate from files, and reloads it when the files change.
 *
 * @throws Error with a full sentence if the files cannot be served at the start
 */
export async function createFilesProvider(options: FilesProviderOptions): Promise<CertificateProvider> {
  const { certFile, keyFile, now, log } = options;
  let certificate = await readCertificate(certFile, keyFile);
  let lastFailure: CertificateFailure | undefined;
  let use: (certificate: Certificate) => void = () => {};

  const reload = async (): Promise<void> => {
    try {
      const found = await readCertificate(certFile, keyFile);
      lastFailure = undefined;
      // The chain can change while the leaf stays the same.
      if (found.cert === certificate.cert && found.key === certificate.key) return;
      use(found);
      certificate = found;
      log.reloaded(found);
    } catch (error) {
      lastFailure = { at: now(), code: 'files-unusable', message: (error as Error).message };
      log.kept(lastFailure);
    }
  };
  const watched = [certFile, keyFile];
  const onChange = (): void => void reload();

  return {
    certificate,
    start(show) {
      use = show;
      for (const file of watched) watchFile(file, { interval: INTERVAL_MS, persistent: false }, onChange);
    },
    reload,
    status: () => ({
      state: stateOf(certificate, now()),
      notAfter: certificate.notAfter,
      lastFailure,
      nextAttempt: undefined,
    }),
    async close() {
      for (const file of watched) unwatchFile(file, onChange);
    },
  };
}

/**
 * Reads a certificate and its key.
 *
 * @throws Error with a full sentence if they cannot be served
 */
export async function readCertificate(certFile: string, keyFile: string): Promise<Certificate> {
  const cert = await readText(certFile);
  const key = await readText(keyFile);
  try {
    return parseCertificate(cert, key);
  } catch (error) {
    throw new Error(`The certificate in ${certFile} ${(error as Error).message} (${keyFile}).`);
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new Error(unreadableFile(file, error));
  }
}
