import { ServiceError } from '../errors.ts';

const PROXY_REFUSES = 'PROXY_REFUSES';
const PROXY_WANTS_CREDENTIALS = 'PROXY_WANTS_CREDENTIALS';
const PROXY_REFUSES_CREDENTIALS = 'PROXY_REFUSES_CREDENTIALS';

const CONNECTION_FAILURES = new Map([
  [PROXY_REFUSES, 'the proxy refuses to connect to it'],
  [PROXY_WANTS_CREDENTIALS, 'the proxy requires credentials; the operator can add them to its URL'],
  [PROXY_REFUSES_CREDENTIALS, 'the proxy rejects the credentials in its URL'],
  ['ENOTFOUND', 'the host does not exist'],
  ['EAI_AGAIN', 'its name could not be resolved'],
  ['ECONNREFUSED', 'it refused the connection'],
  ['ECONNRESET', 'it closed the connection'],
  ['UND_ERR_SOCKET', 'it closed the connection'],
  ['EHOSTUNREACH', 'the network has no route to it'],
  ['ENETUNREACH', 'the network has no route to it'],
  ['CERT_HAS_EXPIRED', 'its certificate has expired'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'its certificate is self-signed'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'its certificate is not from a trusted authority'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'its certificate is not from a trusted authority'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'its certificate is for another host'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'it does not speak HTTPS'],
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
    return new ServiceError('registry-failed', `${host} failed.`, { isFinal, cause: error });
  if (error.name === 'AbortError') return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/TIMEOUT|ETIMEDOUT/.test(code) || error.name === 'TimeoutError') {
    return new ServiceError('registry-timeout', `${host} did not answer in time.`, {
      reason: `${host} did not answer in time`,
      isFinal,
      isUnreachable: UNREACHABLE.has(code),
      cause: error,
    });
  }
  const why = CONNECTION_FAILURES.get(code) ?? 'the connection failed';
  return new ServiceError('registry-failed', `${host} could not be read: ${why}.`, {
    reason: `${host}: ${why}`,
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
