import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

const FOLDERS = 'folders of certificate authorities';

/**
 * Tells this process and its threads the value of `SSL_CERT_DIR`, which may list several folders, as OpenSSL takes them;
 * Node takes one.
 */
export function authorityFolders(list: string | undefined): void {
  const folders = (list ?? '').split(':').filter(Boolean);
  if (folders.length > 1) setEnvironmentData(FOLDERS, folders);
}

/** Whether this thread has them: what Node trusts by default belongs to the thread, not to a part of it. */
let isDone = false;

/**
 * Has TLS clients of this thread trust the system's certificate authorities beside Node's own list and
 * `NODE_EXTRA_CA_CERTS`. The system's are those of OpenSSL's default paths, `SSL_CERT_FILE` and `SSL_CERT_DIR`.
 *
 * Call it before a connection is made: the first call takes some 0.1 s, the others nothing. As the default, the list is
 * parsed once, while a `ca` of its own costs as much for each connection.
 *
 * @see https://nodejs.org/api/tls.html#tlssetdefaultcacertificatescerts
 */
export function trustSystemAuthorities(): void {
  if (isDone) return;
  isDone = true;
  const usual = getCACertificates('default');
  // Those of NODE_EXTRA_CA_CERTS, which the default of a thread without an environment lacks.
  const extra = getCACertificates('extra');
  const folders = getEnvironmentData(FOLDERS) as string[] | undefined;
  const further = (folders ?? []).flatMap(certificatesIn);
  const all = new Set([...usual, ...extra, ...getCACertificates('system'), ...further]);
  if (all.size > usual.length) setDefaultCACertificates([...all]);
}

/** Reads the certificates of a folder, in PEM; what can't be read is left out, as OpenSSL does. */
function certificatesIn(folder: string): string[] {
  return attempt(() => readdirSync(folder), []).flatMap((name) => {
    const content = attempt(() => readFileSync(join(folder, name), 'utf8'), '');
    const blocks = content.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
    return blocks.flatMap((pem) => attempt(() => [new X509Certificate(pem).toString()], []));
  });
}

function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
