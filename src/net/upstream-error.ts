import { type DetailId, detail, inEnglish } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';

const PROXY_REFUSES = 'PROXY_REFUSES';
const PROXY_WANTS_CREDENTIALS = 'PROXY_WANTS_CREDENTIALS';
const PROXY_REFUSES_CREDENTIALS = 'PROXY_REFUSES_CREDENTIALS';

type ConnectionFailure = Extract<DetailId, `${'connection' | 'host' | 'certificate' | 'proxy'}-${string}`>;

const CONNECTION_FAILURES = new Map<string, ConnectionFailure>([
  [PROXY_REFUSES, 'proxy-refuses'],
  [PROXY_WANTS_CREDENTIALS, 'proxy-requires-credentials'],
  [PROXY_REFUSES_CREDENTIALS, 'proxy-rejects-credentials'],
  ['ENOTFOUND', 'host-unknown'],
  ['EAI_AGAIN', 'host-unresolved'],
  ['ECONNREFUSED', 'connection-refused'],
  ['ECONNRESET', 'connection-closed'],
  ['UND_ERR_SOCKET', 'connection-closed'],
  ['EHOSTUNREACH', 'host-unreachable'],
  ['ENETUNREACH', 'host-unreachable'],
  ['CERT_HAS_EXPIRED', 'certificate-expired'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'certificate-self-signed'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'certificate-untrusted'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'certificate-untrusted'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'certificate-other-host'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'connection-not-https'],
]);

/** Failures that a retry cannot fix: a wrong name, certificate or protocol is still wrong a second later. */
const LASTING_FAILURES = /CERT|SELF_SIGNED|UNABLE_TO_|WRONG_VERSION|^ENOTFOUND$/;

/** Error codes of failures to connect. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  PROXY_REFUSES,
  'UND_ERR_CONNECT_TIMEOUT',
  'ETIMEDOUT',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

interface UpstreamErrorOptions {
  readonly isProxied?: boolean;
  /** True if the request must not be repeated after any failure. */
  readonly isFinal?: boolean;
}

/** Converts a network error into a ServiceError that names the host. An AbortError stays as it is. */
export function upstreamError(
  error: unknown,
  upstream: string,
  { isProxied = false, isFinal = false }: UpstreamErrorOptions = {},
): Error {
  const host = isProxied ? `${upstream} (through a proxy)` : upstream;
  if (error instanceof ServiceError) return error;
  if (!(error instanceof Error))
    return new ServiceError('registry-failed', detail('registry-failed', { host }), {
      isFinal,
      cause: error,
    });
  if (error.name === 'AbortError') return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/TIMEOUT|ETIMEDOUT/.test(code) || error.name === 'TimeoutError') {
    return new ServiceError('registry-timeout', detail('registry-silent', { host }), {
      reason: `${host} did not respond in time`,
      isFinal,
      isUnreachable: UNREACHABLE.has(code),
      cause: error,
    });
  }
  const sentence = detail(CONNECTION_FAILURES.get(code) ?? 'connection-failed', { host });
  return new ServiceError('registry-failed', sentence, {
    reason: inEnglish([sentence]).replace(/\.$/, ''),
    isFinal: isFinal || LASTING_FAILURES.test(code),
    isUnreachable: UNREACHABLE.has(code),
    cause: error,
  });
}

/**
 * Recognizes a refusal by a proxy. undici reports it only as an abort (with CONNECT) or an argument error (without). The
 * message has the status.
 */
export function proxyError(error: unknown, proxy: URL | undefined): unknown {
  if (proxy === undefined || !(error instanceof Error) || !('code' in error)) return error;
  const [, status] = /\((407)\)/.exec(error.message) ?? [];
  const refused = proxy.username === '' ? PROXY_WANTS_CREDENTIALS : PROXY_REFUSES_CREDENTIALS;
  const code = status === undefined ? PROXY_REFUSES : refused;
  const isRefusal = status !== undefined || error.code === 'UND_ERR_ABORTED';
  return isRefusal ? Object.assign(new Error(error.message, { cause: error }), { code }) : error;
}
