import type { FastifyReply } from 'fastify';
import type { ErrorCode, ServiceError } from '../../errors.ts';
import { InvalidDigestError } from '../../oci/digest.ts';
import { UnknownManifestError } from '../../registry/status-error.ts';
import { setErrorHeaders } from '../problems/problem.ts';

/** The codes of the specification, and for errors of the server those of the distribution registry. */
type SpecificationCode =
  | 'BLOB_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNAVAILABLE'
  | 'UNKNOWN'
  | 'UNSUPPORTED';

/**
 * The code of the specification for each error. Only errors about the credentials of clients are UNAUTHORIZED. For others,
 * clients would ask for a login, which would not help.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
 */
export const SPECIFICATION_CODES: Readonly<Record<ErrorCode, SpecificationCode>> = {
  'address-refused': 'DENIED',
  'archive-not-kept': 'UNSUPPORTED',
  'client-not-allowed': 'DENIED',
  'contents-too-large': 'UNSUPPORTED',
  'contents-unread': 'UNSUPPORTED',
  'file-not-found': 'UNSUPPORTED',
  'layer-invalid': 'UNSUPPORTED',
  'content-mismatch': 'UNAVAILABLE',
  'credentials-invalid': 'UNSUPPORTED',
  'credentials-rejected': 'UNAUTHORIZED',
  'credentials-required': 'UNAUTHORIZED',
  'credentials-unavailable': 'DENIED',
  'daily-bytes-used': 'TOOMANYREQUESTS',
  'delta-unavailable': 'UNSUPPORTED',
  'engine-busy': 'UNAVAILABLE',
  'engine-failed': 'UNAVAILABLE',
  'engine-unreachable': 'UNAVAILABLE',
  'format-unavailable': 'UNSUPPORTED',
  'headers-too-large': 'UNSUPPORTED',
  'http-version-unsupported': 'UNKNOWN',
  'image-not-allowed': 'DENIED',
  'image-not-found': 'NAME_UNKNOWN',
  'image-too-large': 'DENIED',
  'internal-error': 'UNKNOWN',
  'layer-unavailable': 'BLOB_UNKNOWN',
  'manifest-outdated': 'MANIFEST_INVALID',
  'method-not-allowed': 'UNSUPPORTED',
  'no-files': 'MANIFEST_INVALID',
  'not-an-image': 'MANIFEST_INVALID',
  overloaded: 'UNAVAILABLE',
  'parameter-invalid': 'UNSUPPORTED',
  'parameter-unknown': 'UNSUPPORTED',
  'platform-invalid': 'UNSUPPORTED',
  'platform-not-found': 'MANIFEST_UNKNOWN',
  'precondition-failed': 'UNSUPPORTED',
  'range-not-satisfiable': 'SIZE_INVALID',
  'reference-invalid': 'NAME_INVALID',
  'registry-credentials-refused': 'UNAVAILABLE',
  'registry-failed': 'UNAVAILABLE',
  'registry-rate-limited': 'TOOMANYREQUESTS',
  'registry-refused': 'UNAVAILABLE',
  'registry-timeout': 'UNAVAILABLE',
  'registry-unavailable': 'UNAVAILABLE',
  'request-malformed': 'UNSUPPORTED',
  'request-timeout': 'UNSUPPORTED',
  'request-too-costly': 'DENIED',
  'route-not-found': 'UNSUPPORTED',
  'service-full': 'TOOMANYREQUESTS',
  'signature-invalid': 'DENIED',
  'signature-required': 'DENIED',
  'size-mismatch': 'SIZE_INVALID',
  'tag-not-found': 'MANIFEST_UNKNOWN',
  'too-many-connections': 'TOOMANYREQUESTS',
  'too-many-downloads': 'TOOMANYREQUESTS',
  'too-many-failed-logins': 'TOOMANYREQUESTS',
  'too-many-layers': 'MANIFEST_INVALID',
  'too-many-requests': 'TOOMANYREQUESTS',
  'url-too-long': 'UNSUPPORTED',
};

function specificationCode(error: ServiceError): SpecificationCode {
  if (error instanceof UnknownManifestError) return 'MANIFEST_UNKNOWN';
  if (error instanceof InvalidDigestError) return 'DIGEST_INVALID';
  return SPECIFICATION_CODES[error.code];
}

/** Answers with an error as the specification writes it. */
export function sendRegistryError(reply: FastifyReply, error: ServiceError): FastifyReply {
  const code = specificationCode(error);
  const detail = { code: error.code, ...error.members };
  setErrorHeaders(reply, error);
  return (
    reply
      // Downloads refuse an image whose layer is missing as impossible to save. Here, the layer itself is requested.
      .status(code === 'BLOB_UNKNOWN' ? 404 : error.status)
      .header('docker-distribution-api-version', 'registry/2.0')
      .type('application/json')
      .send(JSON.stringify({ errors: [{ code, message: error.message, detail }] }))
  );
}
