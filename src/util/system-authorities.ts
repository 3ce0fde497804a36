import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { nodeTls } from './builtins.ts';

const FOLDERS = 'folders of certificate authorities';

/**
 * Passes the value of `SSL_CERT_DIR` to this process and its threads. It may list several folders, as in OpenSSL;
 * Node.js itself reads only one.
 */
export function authorityFolders(list: string | undefined): void {
  const folders = (list ?? '').split(':').filter(Boolean);
  if (folders.length > 1) setEnvironmentData(FOLDERS, folders);
}

/** True if this thread has loaded them. Node.js keeps the default authorities for each thread. */
let isDone = false;

/**
 * Makes TLS clients of this thread trust the system's certificate authorities in addition to Node's own list and
 * `NODE_EXTRA_CA_CERTS`. The system's authorities come from OpenSSL's default paths, `SSL_CERT_FILE`, and
 * `SSL_CERT_DIR`.
 *
 * Call it before making a connection. The first call takes about 0.1 s, further calls nothing. As the default, the list
 * is parsed once; as a `ca` option, it would be parsed for each connection.
 *
 * @see https://nodejs.org/api/tls.html#tlssetdefaultcacertificatescerts
 */
export function trustSystemAuthorities(): void {
  if (isDone) return;
  isDone = true;
  const { getCACertificates, setDefaultCACertificates } = nodeTls();
  const usual = getCACertificates('default');
  // The default list of a thread without environment variables lacks those of NODE_EXTRA_CA_CERTS.
  const extra = getCACertificates('extra');
  const folders = getEnvironmentData(FOLDERS) as string[] | undefined;
  const further = (folders ?? []).flatMap(certificatesIn);
  const all = new Set([...usual, ...extra, ...getCACertificates('system'), ...further]);
  if (all.size > usual.length) setDefaultCACertificates([...all]);
}

/** Reads the PEM certificates in a folder. Skips unreadable files, as OpenSSL does. */
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
