import type { Config } from '../config/schema.ts';
import type { DownloadNamed } from '../tls/acme/revocation.ts';
import { ownAddresses } from '../util/own-addresses.ts';

/**
 * Creates the downloads from addresses that a certificate names: its revocation list and its OCSP responder. Only
 * public addresses pass, unless `acme_ca_file` names a private authority, or the host is that of its directory.
 */
export function createNamedDownloads({
  acmeCaFile,
  acmeDirectory,
  acmeFallbackDirectory,
}: Pick<Config, 'acmeCaFile' | 'acmeDirectory' | 'acmeFallbackDirectory'>): DownloadNamed {
  const hosts = new Set([acmeDirectory, acmeFallbackDirectory ?? acmeDirectory].map(hostOf));
  return async (url, limit, signal) => {
    const { readBody } = await import('../net/body.ts');
    const { guardSignedFiles } = await import('../net/guard.ts');
    const { createHttpClient } = await import('../net/http-client.ts');
    const guard = guardSignedFiles(
      (origin) => acmeCaFile !== undefined || hosts.has(hostOf(origin)),
      ownAddresses,
    );
    const http = createHttpClient({ guard, userAgent: 'DockerProxy' });
    try {
      const response = await http.request(new URL(url), {}, signal);
      const body = await readBody(response, limit);
      if (response.status !== 200) throw new Error(`${url} returned status ${response.status}`);
      return body;
    } finally {
      await http.close();
    }
  };
}

function hostOf(url: string): string | undefined {
  return URL.parse(url)?.hostname;
}
