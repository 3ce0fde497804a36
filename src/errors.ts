import { type Detail, inEnglish } from './errors/details.ts';

/**
 * The errors that clients can get. Each has a stable code, an HTTP status, a title that is short enough for a reason
 * phrase, and advice for the reader.
 */
const CATALOGUE = {
  'contents-unread': {
    status: 202,
    title: 'Files not known yet',
    help: 'Start the download, which reads the layers. Then try again.',
  },
  'reference-invalid': {
    status: 400,
    title: 'Invalid image reference',
    help: 'Write the image as [registry/]repository[:tag][@digest], such as busybox:1.36 or ghcr.io/org/app.',
  },
  'platform-invalid': {
    status: 400,
    title: 'Invalid platform',
    help: 'Write the platform as os/architecture[/variant], such as linux/arm64 or linux/arm/v7.',
  },
  'parameter-unknown': {
    status: 400,
    title: 'Unknown parameter',
    help: 'Remove the parameter or correct its spelling. Unknown parameters are never ignored.',
  },
  'parameter-invalid': {
    status: 400,
    title: 'Invalid parameter',
    help: 'Correct the named parameter and try again.',
  },
  'request-malformed': {
    status: 400,
    title: 'Malformed request',
    help: 'Send a well-formed HTTP request with a percent-encoded URL.',
  },
  'format-unavailable': {
    status: 400,
    title: 'Format not available here',
    help: 'Remove &format from the request. This service uses a Docker engine, which saves images in its own format.',
  },
  'delta-unavailable': {
    status: 400,
    title: 'No deltas here',
    help: 'Remove &have= from the request. This service uses a Docker engine, which saves whole images.',
  },
  'credentials-invalid': {
    status: 400,
    title: 'Invalid credentials',
    help: 'Send one Authorization header of the Basic scheme, with USER or REGISTRY/USER as the user name, and a password or token.',
  },
  'credentials-required': {
    status: 401,
    title: 'Image missing or private',
    help: 'Check the spelling. For a private image, send your user name and token: wget --auth-no-challenge --user=NAME --ask-password, or curl -u NAME.',
  },
  'credentials-rejected': {
    status: 401,
    title: 'Registry refused your credentials',
    help: 'Check the user name and the password or token, and that they belong to the registry of the image.',
  },
  'credentials-unavailable': {
    status: 403,
    title: 'Credentials not accepted here',
    help: 'Request the image over HTTPS. If the error remains, request it without credentials.',
  },
  'image-not-allowed': {
    status: 403,
    title: 'Image not allowed here',
    help: 'Ask the operator of this service to allow the registry or repository, or use another one.',
  },
  'address-refused': {
    status: 403,
    title: 'Address not allowed',
    help: 'The registry must have a public address and use HTTPS, or the operator must list it.',
  },
  'image-too-large': {
    status: 403,
    title: 'Image too large',
    help: 'Request fewer or smaller images, or ask the operator to raise the limit.',
  },
  'client-not-allowed': {
    status: 403,
    title: 'Client not allowed',
    help: 'This service does not accept your address. Ask its operator for access.',
  },
  'signature-required': {
    status: 403,
    title: 'Image not signed',
    help: 'Ask the publisher to sign the image with cosign and a key that this service trusts. The operator can remove the requirement.',
  },
  'signature-invalid': {
    status: 403,
    title: 'No valid signature',
    help: 'Do not trust this image until its publisher explains why. The operator of this service decides whose signatures count.',
  },
  'route-not-found': {
    status: 404,
    title: 'No such page',
    help: 'Downloads are at /dl?myimage=IMAGE and at /dl/IMAGE.tar.',
  },
  'image-not-found': {
    status: 404,
    title: 'Image not found',
    help: 'Check the spelling of the repository and the tag. For a private image, the operator must set credentials.',
  },
  'tag-not-found': {
    status: 404,
    title: 'No such tag',
    help: 'Choose another tag: /api/v1/tags?repository=NAME lists all of them.',
  },
  'platform-not-found': {
    status: 404,
    title: 'No such platform',
    help: 'Request one of the platforms of the image with &platform=os/architecture.',
  },
  'file-not-found': {
    status: 404,
    title: 'No such file in the image',
    help: 'Check the path: /api/v1/files?myimage=NAME&path=/ lists the files of an image.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'Method not allowed',
    help: 'Use GET or HEAD.',
  },
  'request-timeout': {
    status: 408,
    title: 'Request too slow',
    help: 'Send the whole request without pauses.',
  },
  'precondition-failed': {
    status: 412,
    title: 'Precondition failed',
    help: 'The image has changed. Repeat the request without If-Match.',
  },
  'url-too-long': {
    status: 414,
    title: 'URL too long',
    help: 'Request fewer images at once.',
  },
  'range-not-satisfiable': {
    status: 416,
    title: 'Range not satisfiable',
    help: 'The range starts after the end of the file. A local file of that length is already complete.',
  },
  'not-an-image': {
    status: 422,
    title: 'Not a container image',
    help: 'Choose another format. Container engines cannot load charts, signatures, and other artifacts.',
  },
  'no-files': {
    status: 422,
    title: 'No files',
    help: 'Remove &format=files for a container image. Request an artifact without files with &format=oci.',
  },
  'manifest-outdated': {
    status: 422,
    title: 'Image format too old',
    help: 'The image has a Docker schema 1 manifest, obsolete since 2017. Its publisher must push it again.',
  },
  'archive-not-kept': {
    status: 422,
    title: 'No parts and no checksum',
    help: 'Remove &stream=1 from the request. If that does not help, this service lacks the disk space to keep the file.',
  },
  'too-many-layers': {
    status: 422,
    title: 'Too many layers',
    help: 'The image has more layers than container engines can load. Its publisher must build it with fewer layers.',
  },
  'layer-unavailable': {
    status: 422,
    title: 'Layer not available',
    help: 'The registry does not distribute one of the layers of the image, so a complete file is impossible. Ask the publisher for that layer.',
  },
  'request-too-costly': {
    status: 422,
    title: 'Request too costly',
    help: 'Request fewer images or platforms at once.',
  },
  'layer-invalid': {
    status: 422,
    title: 'Layer cannot be unpacked',
    help: 'Container engines cannot unpack the layer, either. Ask the publisher to rebuild the image. To get its layers as they are, request &format=docker.',
  },
  'contents-too-large': {
    status: 422,
    title: 'Too many or too large files',
    help: 'Request the image with &format=docker, whose layers are sent as they are, or ask the operator to raise the limit.',
  },
  'size-mismatch': {
    status: 422,
    title: 'Wrong size in the manifest',
    help: 'The publisher must push the image again. Until then, pull it with docker, which ignores sizes; podman and skopeo ignore those of layers.',
  },
  'registry-rate-limited': {
    status: 429,
    title: 'The registry limits requests',
    help: 'Wait for the time in Retry-After and try again.',
  },
  'headers-too-large': {
    status: 431,
    title: 'Headers too large',
    help: 'Send fewer or shorter headers. In a browser, delete the cookies of this site.',
  },
  'too-many-requests': {
    status: 429,
    title: 'Too many requests',
    help: 'Wait for the time in Retry-After. /api/v1/limits shows your remaining quota.',
  },
  'too-many-failed-logins': {
    status: 429,
    title: 'Too many failed logins',
    help: 'Wait for the time in Retry-After, then try again.',
  },
  'too-many-downloads': {
    status: 429,
    title: 'Too many downloads at once',
    help: 'Download one image after the other. Several connections for one image count once.',
  },
  'too-many-connections': {
    status: 429,
    title: 'Too many connections',
    help: 'Use fewer connections for the download, such as with aria2c -x8, and try again.',
  },
  'daily-bytes-used': {
    status: 429,
    title: 'Daily bytes used up',
    help: 'Wait for the time in Retry-After. You can still continue a download that has started, such as with wget -c.',
  },
  'service-full': {
    status: 429,
    title: 'Too many downloads here',
    help: 'The whole service has reached its limit. Wait for the time in Retry-After and try again.',
  },
  'internal-error': {
    status: 500,
    title: 'Internal error',
    help: 'This is an error of the service. Try again, and tell the operator if it persists.',
  },
  'registry-failed': {
    status: 502,
    title: 'Registry failed',
    help: 'The registry could not be reached or sent an invalid response. Try again later.',
  },
  'registry-refused': {
    status: 502,
    title: 'Registry refused the request',
    help: 'The registry refuses the requests of this service. Check the reference. If it is correct, tell the operator.',
  },
  'registry-credentials-refused': {
    status: 502,
    title: 'Registry refused our credentials',
    help: 'Tell the operator that the registry does not accept the configured credentials.',
  },
  'engine-unreachable': {
    status: 502,
    title: 'Docker engine not reachable',
    help: 'The Docker engine of this service does not respond. Try again later, and tell the operator if it persists.',
  },
  'engine-failed': {
    status: 502,
    title: 'Docker engine failed',
    help: 'The Docker engine of this service could not pull or save the image. Tell the operator if it persists.',
  },
  'content-mismatch': {
    status: 502,
    title: 'Registry sent wrong content',
    help: 'The content from the registry does not match its digest or size. Try again later.',
  },
  'engine-busy': {
    status: 503,
    title: 'Engine busy',
    help: 'Wait for the time in Retry-After and try again.',
  },
  overloaded: {
    status: 503,
    title: 'Too busy at the moment',
    help: 'Wait for the time in Retry-After and try again.',
  },
  'registry-unavailable': {
    status: 503,
    title: 'Registry unavailable',
    help: 'Wait for the time in Retry-After and try again.',
  },
  'registry-timeout': {
    status: 504,
    title: 'Registry too slow',
    help: 'The registry did not respond in time. Try again later.',
  },
  'http-version-unsupported': {
    status: 505,
    title: 'HTTP version not supported',
    help: 'Use HTTP version 1.1.',
  },
} as const satisfies Record<string, { status: number; title: string; help: string }>;

export type ErrorCode = keyof typeof CATALOGUE;

/** An entry of the catalogue, for documentation. */
export interface ErrorEntry {
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  readonly help: string;
}

/** Lists all errors in the order of their status. */
export function listErrors(): readonly ErrorEntry[] {
  return Object.entries(CATALOGUE).map(([code, entry]) => ({ code: code as ErrorCode, ...entry }));
}

export interface ErrorDetails {
  /** Seconds until a retry makes sense; sent as Retry-After. */
  retryAfter?: number;
  /** Milliseconds that the upstream asks clients to wait; absent if it states no time. */
  pause?: number | undefined;
  /** Set if a retry is useless or harmful, although the code means an outage. */
  isFinal?: boolean;
  /** Set if the upstream accepted no connection. */
  isUnreachable?: boolean;
  /** Additional headers of the response. */
  headers?: Readonly<Record<string, string>>;
  /** The reason phrase in a few words, because wget shows nothing else; the title if absent. */
  reason?: string;
  /** Further members of the problem details. */
  members?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

/** An error of the catalogue. Its message is a full sentence about this case, which clients may read. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  readonly help: string;
  readonly reason: string;
  readonly retryAfter: number | undefined;
  readonly pause: number | undefined;
  readonly isFinal: boolean;
  readonly isUnreachable: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly members: Readonly<Record<string, unknown>>;
  /** The sentences of the message, which the page translates. */
  readonly sentences: readonly Detail[];

  constructor(code: ErrorCode, message: Detail | readonly Detail[], details: ErrorDetails = {}) {
    const sentences = [message].flat();
    super(inEnglish(sentences), { cause: details.cause });
    this.sentences = sentences;
    const entry = CATALOGUE[code];
    this.code = code;
    this.status = entry.status;
    this.title = entry.title;
    this.help = entry.help;
    this.reason = details.reason ?? entry.title;
    this.retryAfter = details.retryAfter;
    this.pause = details.pause;
    this.isFinal = details.isFinal ?? false;
    this.isUnreachable = details.isUnreachable ?? false;
    this.headers = details.headers ?? {};
    this.members = details.members ?? {};
  }
}

const OUTAGES: ReadonlySet<ErrorCode> = new Set([
  'registry-failed',
  'registry-timeout',
  'registry-unavailable',
  'registry-rate-limited',
]);

/**
 * Tells whether an error means that a registry is unavailable at the moment, rather than that its response is wrong.
 */
export function isOutage(error: unknown): error is ServiceError {
  return error instanceof ServiceError && OUTAGES.has(error.code);
}

/**
 * Quotes untrusted text for a sentence. Shortens it, and replaces characters that could control a terminal or a log.
 */
export function quote(text: string, longest = 80): string {
  const short = text.length > longest ? `${text.slice(0, longest - 3)}...` : text;
  return `"${short.replace(/[^\x20-\x7e]|["\\]/g, '?')}"`;
}
