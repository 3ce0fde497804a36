import { detail } from '../../errors/details.ts';
import { type ErrorCode, ServiceError } from '../../errors.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import { credentialsRefused, missingOrPrivate, UnknownTagError } from '../../registry/status-error.ts';

export interface FailedPull {
  readonly reference: Reference;
  readonly platform: Platform | undefined;
  /** True if the pull used credentials of this service. */
  readonly withCredentials: boolean;
}

/** Seconds: engines keep a registry's own Retry-After to themselves. */
const RETRY_AFTER_S = 60;

/**
 * The messages of engines for pull errors: dockerd 20.10 and later, its containerd store, and podman 4. The first
 * match counts.
 */
const WORDS: readonly (readonly [RegExp, ErrorCode])[] = [
  [
    /no matching manifest for|no match for platform|no image found in (?:image index|manifest list)|does not match the specified platform|does not provide the specified platform|from manifest list: Unexpectedly/i,
    'platform-not-found',
  ],
  [/too ?many ?requests|rate limit/i, 'registry-rate-limited'],
  // Only schema 1 manifests have these names.
  [/schema ?(?:version )?1|manifest\.v1\+|FSLayers|missing signature key/i, 'manifest-outdated'],
  [
    /unsupported media ?type|unsupported image-specific operation|unknown media ?type|invalid media ?type/i,
    'not-an-image',
  ],
  [
    /verification failed|does not match (?:expected|provided)|unexpected commit digest|digest mismatch|did not match|invalid checksum/i,
    'content-mismatch',
  ],
  [/max depth exceeded/i, 'too-many-layers'],
  [
    /unauthorized|authentication required|no basic auth credentials|incorrect username|fetch \w+ token.*\b40[013]\b/i,
    'registry-credentials-refused',
  ],
  [/unknown blob|blob unknown|fetching blob.*\b404\b|\(blob\).*not found/i, 'layer-unavailable'],
  [/no space left on device/i, 'engine-failed'],
  [/manifest unknown|name unknown|not found|does not exist|denied|insufficient.scope/i, 'image-not-found'],
  [/timeout|deadline exceeded|timed out|Client\.Timeout/i, 'registry-timeout'],
];
/** Matches a 404 for the manifest. For a missing or private repository, engines report `denied` instead. */
const UNKNOWN_TAG =
  /^(?!.*\b(?:denied|no pull access)\b).*(?:manifest unknown|manifest for|resolve reference)/is;
/** The status from a registry, for messages without known words. */
const STATUS = /\b[45]\d\d\b/;
const STATUSES: Readonly<Record<string, ErrorCode>> = {
  401: 'registry-credentials-refused',
  403: 'image-not-found',
  404: 'image-not-found',
  408: 'registry-timeout',
  429: 'registry-rate-limited',
  503: 'registry-unavailable',
  504: 'registry-timeout',
};
/** Messages about a broken network, or about a response that does not come from a registry. */
const TROUBLE =
  /dial |connect|lookup |no such host|x509|tls|certificate|\bEOF\b|i\/o|reset by peer|server gave HTTP|Content-Length|invalid character|unmarshal/i;

/**
 * Translates an engine's message for the client. The message itself becomes the cause, because it can name hosts of
 * the internal network.
 */
export function pullError(
  message: string,
  { reference, platform, withCredentials }: FailedPull,
): ServiceError {
  const said = withoutNames(message, reference);
  const code = WORDS.find(([pattern]) => pattern.test(said))?.[1] ?? codeOfStatus(said);
  const cause = new Error(message);
  const { domain } = reference;
  const image = formatReference(reference);
  switch (code) {
    case 'registry-credentials-refused':
      return withCredentials ? credentialsRefused(reference, cause) : missingOrPrivate(reference, cause);
    case 'image-not-found':
      return UNKNOWN_TAG.test(said) && reference.tag !== undefined && reference.digest === undefined
        ? new UnknownTagError(reference, reference.tag, cause)
        : missingOrPrivate(reference, cause);
    case 'platform-not-found':
      return platform === undefined
        ? new ServiceError(code, detail('platform-of-engine', { image }), { cause })
        : new ServiceError(
            code,
            detail('platform-unavailable', { image, platform: formatPlatform(platform) }),
            {
              reason: `No image for ${formatPlatform(platform)}`,
              cause,
            },
          );
    case 'registry-rate-limited':
      return new ServiceError(code, detail('registry-limits', { host: domain }), {
        reason: `${domain} limits requests`,
        retryAfter: RETRY_AFTER_S,
        cause,
      });
    case 'registry-unavailable':
      return new ServiceError(code, detail('registry-down', { host: domain }), {
        reason: `${domain} is unavailable`,
        retryAfter: RETRY_AFTER_S,
        cause,
      });
    case 'registry-timeout':
      return new ServiceError(code, detail('registry-silent', { host: domain }), { cause });
    case 'not-an-image':
      return new ServiceError(code, detail('not-image', { image }), { cause });
    case 'manifest-outdated':
      return new ServiceError(code, detail('image-outdated-at', { host: domain, image }), { cause });
    case 'content-mismatch':
      return new ServiceError(code, detail('image-bytes-wrong', { host: domain, image }), {
        cause,
      });
    case 'layer-unavailable':
      return new ServiceError(code, detail('image-incomplete', { host: domain, image }), { cause });
    case 'too-many-layers':
      return new ServiceError(code, detail('engine-layers-exceeded', { image }), {
        cause,
      });
    case 'engine-failed':
      return new ServiceError(code, detail('engine-pull-failed', { image }), { cause });
    default:
      return new ServiceError(code, detail('engine-read-failed', { image, host: domain }), { cause });
  }
}

function codeOfStatus(said: string): ErrorCode {
  const [status] = STATUS.exec(said) ?? [];
  if (status === undefined) return TROUBLE.test(said) ? 'registry-failed' : 'engine-failed';
  return STATUSES[status] ?? (status.startsWith('4') ? 'registry-refused' : 'registry-failed');
}

/** Removes the parts that could match the words above by accident: URLs, the image's names, ports and digests. */
function withoutNames(message: string, { name, domain, path, tag }: Reference): string {
  const names = [name, path, path.replace(/^library\//, '')];
  const tagged = tag === undefined ? [] : names.map((each) => `${each}:${tag}`);
  return [...tagged, ...names, domain]
    .reduce(
      (text, each) =>
        text.replace(new RegExp(`(?<![\\w./-])${each.replace(/[.[\]]/g, '\\$&')}(?![\\w/-])`, 'g'), ''),
      message.replace(/https?:\/\/[^\s"]+/g, (url) => (url.includes('/blobs/') ? '(blob)' : '')),
    )
    .replace(/:\d+|[0-9a-f]{64}/g, '');
}
