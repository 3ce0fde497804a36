import { once } from 'node:events';
import { isIP } from 'node:net';
import type { Config } from '../config/schema.ts';
import { isWildcard } from '../config/tls.ts';
import { nodeTls } from '../util/builtins.ts';
import { localUrl } from '../util/local-url.ts';

/** The certificate in the readiness report of a running service. */
export interface CertificateReport {
  readonly state: string;
  /** An ISO date, like all times here. */
  readonly nextAttempt?: string;
}

const TIMEOUT_MS = 5_000;

/** Reads the readiness report of the service with these settings on this machine; undefined without a response. */
export async function readReport(
  config: Config,
  signal: AbortSignal,
): Promise<CertificateReport | undefined> {
  try {
    const response = await fetch(`${localUrl(config.host, config.port)}/readyz`, { signal: within(signal) });
    const { checks } = (await response.json()) as { checks?: { certificate?: CertificateReport } };
    return checks?.certificate;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** Reads the certificate that the service shows, in PEM; undefined without a TLS connection. */
export async function readShownCertificate(
  { host, httpsPort, domains }: Config,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { hostname, port } = new URL(localUrl(host, httpsPort, 'https'));
  const servername = domains.find((name) => isIP(name) === 0 && !isWildcard(name)) ?? '';
  const socket = nodeTls().connect({
    ...{ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || 443, servername },
    // The certificate is shown, whether it is valid or not. No data is sent.
    rejectUnauthorized: false,
  });
  try {
    await once(socket, 'secureConnect', { signal: within(signal) });
    return socket.getPeerX509Certificate()?.toString();
  } catch {
    signal.throwIfAborted();
    return undefined;
  } finally {
    socket.destroy();
  }
}

function within(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
}
