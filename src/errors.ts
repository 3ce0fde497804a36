/**
 * The error catalogue: everything that can go wrong for a client, each with a stable code, an HTTP status, a
 * title short enough for a reason phrase, and one sentence that its reader can act on.
 */
const CATALOGUE = {
  'reference-invalid': {
    status: 400,
    title: 'Invalid image reference',
    help: 'Write the image as [registry/]repository[:tag][@digest], for example busybox:1.36 or ghcr.io/org/app.',
  },
  'platform-invalid': {
    status: 400,
    title: 'Invalid platform',
    help: 'Write the platform as os/architecture[/variant], for example linux/arm64 or linux/arm/v7.',
  },
  'parameter-unknown': {
    status: 400,
    title: 'Unknown parameter',
    help: 'Remove the parameter or correct its spelling; nothing in a request is ignored.',
  },
  'parameter-invalid': {
    status: 400,
    title: 'Invalid parameter',
    help: 'Correct the named parameter and ask again.',
  },
  'request-malformed': {
    status: 400,
    title: 'Malformed request',
    help: 'Send a well-formed HTTP request with a percent-encoded URL.',
  },
  'format-unavailable': {
    status: 400,
    title: 'Format not available here',
    help: 'Ask without &format=oci: this service takes its images from a Docker engine, which saves them in its own format.',
  },
  'delta-unavailable': {
    status: 400,
    title: 'No deltas here',
    help: 'Ask without &have=: this service takes its images from a Docker engine, which saves them whole.',
  },
  'image-not-allowed': {
    status: 403,
    title: 'Image not allowed here',
    help: 'Ask the operator of this service to allow the registry or repository, or use another one.',
  },
  'address-refused': {
    status: 403,
    title: 'Address not allowed',
    help: 'Only registries at public addresses, over HTTPS, are fetched, unless the operator has listed them.',
  },
  'image-too-large': {
    status: 403,
    title: 'Image too large',
    help: 'Ask for fewer or smaller images, or ask the operator to raise the limit.',
  },
  'client-not-allowed': {
    status: 403,
    title: 'Client not allowed',
    help: 'This service is not open to your address; ask its operator.',
  },
  'signature-required': {
    status: 403,
    title: 'Image not signed',
    help: 'Ask its publisher to sign it with cosign and a key that this service knows, or the operator of this service to ask for no signature.',
  },
  'signature-invalid': {
    status: 403,
    title: 'No valid signature',
    help: 'Do not trust this image before its publisher has told you why; the operator of this service says whose signatures count.',
  },
  'route-not-found': {
    status: 404,
    title: 'No such page',
    help: 'Downloads are at /dl?myimage=IMAGE and at /dl/IMAGE.tar.',
  },
  'image-not-found': {
    status: 404,
    title: 'Image not found',
    help: 'Check the spelling of the repository and the tag; private images need credentials set by the operator.',
  },
  'tag-not-found': {
    status: 404,
    title: 'No such tag',
    help: 'Choose another tag: /api/v1/tags?repository=NAME lists all of them.',
  },
  'platform-not-found': {
    status: 404,
    title: 'No such platform',
    help: 'Ask for one of the platforms that the image has, with &platform=os/architecture.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'Method not allowed',
    help: 'Use GET or HEAD.',
  },
  'request-timeout': {
    status: 408,
    title: 'Request too slow',
    help: 'Send the request at once and whole.',
  },
  'precondition-failed': {
    status: 412,
    title: 'Precondition failed',
    help: 'The image has changed since; ask again without If-Match.',
  },
  'url-too-long': {
    status: 414,
    title: 'URL too long',
    help: 'Ask for fewer images at once.',
  },
  'range-not-satisfiable': {
    status: 416,
    title: 'Range not satisfiable',
    help: 'The file ends before the range begins; a file of that length is already complete.',
  },
  'not-an-image': {
    status: 422,
    title: 'Not a container image',
    help: 'Name a container image; charts, signatures and other artifacts cannot be loaded by a container engine.',
  },
  'manifest-outdated': {
    status: 422,
    title: 'Image format too old',
    help: 'The image has a Docker schema 1 manifest, obsolete since 2017; its publisher has to push it again.',
  },
  'archive-not-kept': {
    status: 422,
    title: 'No parts and no checksum',
    help: 'Ask without &stream=1; where that changes nothing, this service has no room to keep what its engine saves.',
  },
  'too-many-layers': {
    status: 422,
    title: 'Too many layers',
    help: 'No container engine loads an image of so many layers; its publisher has to build it with fewer.',
  },
  'layer-unavailable': {
    status: 422,
    title: 'Layer not available',
    help: 'The registry does not distribute one of the layers of the image, so that no complete archive can be made.',
  },
  'request-too-costly': {
    status: 422,
    title: 'Request too costly',
    help: 'Ask for fewer images or platforms at once.',
  },
  'size-mismatch': {
    status: 422,
    title: 'Wrong size in the manifest',
    help: 'The publisher has to push the image again. Until then, pull it with docker, which ignores sizes; podman and skopeo ignore those of layers.',
  },
  'registry-rate-limited': {
    status: 429,
    title: 'The registry limits requests',
    help: 'Wait for as long as Retry-After says and ask again.',
  },
  'headers-too-large': {
    status: 431,
    title: 'Headers too large',
    help: 'Send fewer or shorter headers; a browser that sends too many cookies can be told to forget them.',
  },
  'too-many-requests': {
    status: 429,
    title: 'Too many requests',
    help: 'Wait for as long as Retry-After says; /api/v1/limits tells what your address has left.',
  },
  'too-many-downloads': {
    status: 429,
    title: 'Too many downloads at once',
    help: 'Fetch one image after the other; several connections for one image count once.',
  },
  'too-many-connections': {
    status: 429,
    title: 'Too many connections',
    help: 'Use fewer connections for the download, such as with aria2c -x8, and try again.',
  },
  'daily-bytes-used': {
    status: 429,
    title: 'Daily bytes used up',
    help: 'Wait for as long as Retry-After says; a download that was begun can be continued meanwhile, as with wget -c.',
  },
  'service-full': {
    status: 429,
    title: 'Too many downloads here',
    help: 'The limit is that of the whole service, not yours: ask again after as long as Retry-After says.',
  },
  'internal-error': {
    status: 500,
    title: 'Internal error',
    help: 'The mistake is on this side; ask again, and tell the operator if it stays.',
  },
  'registry-failed': {
    status: 502,
    title: 'Registry failed',
    help: 'The registry could not be reached or did not answer as a registry should; ask again later.',
  },
  'registry-refused': {
    status: 502,
    title: 'Registry refused the request',
    help: 'The registry does not answer what this service asks; check the reference, and tell the operator if it is right.',
  },
  'registry-credentials-refused': {
    status: 502,
    title: 'Registry refused our credentials',
    help: 'Tell the operator that the configured credentials for this registry are not accepted.',
  },
  'engine-unreachable': {
    status: 502,
    title: 'Docker engine not reachable',
    help: 'The engine that this service takes images from does not answer; ask again later, and tell the operator if it stays so.',
  },
  'engine-failed': {
    status: 502,
    title: 'Docker engine failed',
    help: 'The engine that this service takes images from could not pull or save the image; tell the operator if it stays so.',
  },
  'content-mismatch': {
    status: 502,
    title: 'Registry sent wrong content',
    help: 'What the registry sent does not have the digest or size that it should have; ask again later.',
  },
  'engine-busy': {
    status: 503,
    title: 'Engine busy',
    help: 'Wait for as long as Retry-After says and ask again.',
  },
  overloaded: {
    status: 503,
    title: 'Too busy at the moment',
    help: 'Wait for as long as Retry-After says and ask again.',
  },
  'registry-unavailable': {
    status: 503,
    title: 'Registry unavailable',
    help: 'Wait for as long as Retry-After says and ask again.',
  },
  'registry-timeout': {
    status: 504,
    title: 'Registry too slow',
    help: 'The registry did not answer in time; ask again later.',
  },
  'http-version-unsupported': {
    status: 505,
    title: 'HTTP version not supported',
    help: 'Use version 1.1 of HTTP.',
  },
} as const satisfies Record<string, { status: number; title: string; help: string }>;

export type ErrorCode = keyof typeof CATALOGUE;

/** An entry of the catalogue, for who documents it. */
export interface ErrorEntry {
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  readonly help: string;
}

/** All that can go wrong, in the order of their status. */
export function listErrors(): readonly ErrorEntry[] {
  return Object.entries(CATALOGUE).map(([code, entry]) => ({ code: code as ErrorCode, ...entry }));
}

export interface ErrorDetails {
  /** Seconds after which asking again makes sense; sent as Retry-After. */
  retryAfter?: number;
  /** Milliseconds that the upstream asks clients to wait; absent if it states no time. */
  pause?: number | undefined;
  /** Whether a repeated request is useless or harmful, although the code means an outage. */
  isFinal?: boolean;
  /** Set if the upstream accepted no connection. */
  isUnreachable?: boolean;
  /** Headers that belong to the answer. */
  headers?: Readonly<Record<string, string>>;
  /** A few words for the reason phrase, which is all that wget shows; the title where absent. */
  reason?: string;
  /** Further members of the problem details. */
  members?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

/** An error of the catalogue; its message is one full sentence about this very case, fit for the client's eyes. */
export class CatalogueError extends Error {
  override readonly name = 'CatalogueError';
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

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
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
export function isOutage(error: unknown): error is CatalogueError {
  return error instanceof CatalogueError && OUTAGES.has(error.code);
}

/** Shows untrusted text inside a sentence: quoted, shortened, nothing that a terminal or a log could act on. */
export function quote(text: string, longest = 80): string {
  const short = text.length > longest ? `${text.slice(0, longest - 3)}...` : text;
  return `"${short.replace(/[^\x20-\x7e]|["\\]/g, '?')}"`;
}
