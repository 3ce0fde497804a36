import { formatDuration } from '../util/duration.ts';

/**
 * The sentences about one case that visitors of the page read in their language, in English. web/details/ has the
 * translations, with the same parameters.
 */
export const DETAILS = {
  /** Not a sentence, but the subject of many. */
  parameter: 'the parameter {name}',
  'reference-empty': '{text} is not an image reference: it is empty.',
  'reference-scheme': '{text} is not an image reference: it must not begin with a scheme such as https://.',
  'reference-id':
    '{text} is not an image reference: 64 hex digits alone are an image ID. Write repository@sha256:…',
  'reference-tag':
    '{text} is not an image reference: a tag has 1 to 128 letters, digits, underscores, dots, and hyphens. It does not begin with a dot or a hyphen.',
  'reference-registry':
    '{text} is not an image reference: the registry must be a host name or an IP address, with an optional port.',
  'reference-uppercase': '{text} is not an image reference: a repository must be lowercase.',
  'reference-repository':
    '{text} is not an image reference: each part of a repository has lowercase letters and digits. Separators are one dot, one or two underscores, or hyphens.',
  'reference-long':
    '{text} is not an image reference: registry and repository together have at most {limit} characters.',
  'digest-invalid':
    '{text} is not a digest: it must be sha256: followed by 64 lowercase hex digits (or sha384: and 96, or sha512: and 128).',
  'platform-invalid':
    '{text} is not a platform: write it as os/architecture[/variant], for example linux/arm64.',
  'platform-missing': '{image} is not available for {platform}. Available platforms: {platforms}.',
  'platforms-missing': '{image} is not available for {platform}. Its index lists no images.',
  'image-refused': 'This service is not allowed to fetch {image}.',
  'image-unknown': 'The image {image} does not exist.',
  'image-hidden': 'The image {image} is missing or private.',
  'tag-missing': '{repository} has no tag {tag}.',
  'tags-similar': 'Similar tags: {tags}.',
  'image-outdated': 'The registry has this image only in Docker schema 1 format.',
  'layers-exceeded': 'The image has {count} layers. An archive has at most {limit}.',
  'artifact-type': 'This manifest describes an artifact of type {type}.',
  'config-odd': 'The config of this manifest does not describe a container image.',
  'archive-large': 'The archive would have {size} bytes. This service sends at most {limit}.',
  'signature-missing': '{image} is not signed. This service requires a signature by: {keys}.',
  'signature-invalid':
    'No signature of {image} is valid for exactly this image. Signatures found: {count}. Accepted keys: {keys}.',
  'signature-contact': 'For questions, contact {contact}.',
  'signature-unchecked': 'The signature of {image} cannot be checked at the moment.',
  'registry-slow': 'Its registry is too slow.',
  'address-not-https': '{host} is not fetched: its URL does not use HTTPS.',
  'address-credentials': '{host} is not fetched: its URL contains credentials.',
  'address-private': '{host} is not fetched: its address is not public.',
  'address-own': '{host} is not fetched: its address belongs to this machine.',
  'client-refused': 'Your address, {address}, may not use this service.',
  'connections-exceeded':
    'Your address has {limit} connections for this download, the maximum (CONNECTIONS_PER_DOWNLOAD). Wait until one of them ends.',
  'downloads-exceeded':
    'Downloads in progress from your address: {limit}, the maximum (DOWNLOADS_PER_IP). Wait until one of them ends.',
  'service-exceeded':
    'Downloads in progress on this service: {limit}, the maximum (MAX_DOWNLOADS). Wait until one of them ends.',
  'bytes-exceeded':
    'Your address has used its {limit} per day (DAILY_BYTES), including downloads in progress. It can start downloads again in {wait}. Started downloads can continue.',
  'requests-exceeded':
    'Your address has made more than {limit} requests in {window} (RATE_LIMIT), including failed requests. It can continue in {wait}.',
  'pages-exceeded':
    'Your address has made more than {limit} requests for pages in {window} (PAGE_RATE_LIMIT). It can continue in {wait}.',
  'service-overloaded': 'This service is overloaded.',
  'resolving-slow': 'Resolving {image} took longer than {limit}. Partial results are cached; please retry.',
  'registry-limits': '{host} limits how much this service may fetch.',
  'registry-down': '{host} is unavailable at the moment.',
  'registry-silent': '{host} did not respond in time.',
  'registry-status': '{host} responded with status {status}.',
  'registry-failed': '{host} failed.',
  'connection-failed': '{host} could not be read: the connection failed.',
  'connection-refused': '{host} could not be read: it refused the connection.',
  'connection-closed': '{host} could not be read: it closed the connection.',
  'host-unknown': '{host} could not be read: the host does not exist.',
  'host-unresolved': '{host} could not be read: its name could not be resolved.',
  'host-unreachable': '{host} could not be read: the network has no route to it.',
  'certificate-expired': '{host} could not be read: its certificate has expired.',
  'certificate-self-signed': '{host} could not be read: its certificate is self-signed.',
  'certificate-untrusted': '{host} could not be read: its certificate is not from a trusted authority.',
  'certificate-other-host': '{host} could not be read: its certificate is for another host.',
  'connection-not-https': '{host} could not be read: it does not speak HTTPS.',
  'proxy-refuses': '{host} could not be read: the proxy refuses to connect to it.',
  'proxy-requires-credentials':
    '{host} could not be read: the proxy requires credentials; the operator can add them to its URL.',
  'proxy-rejects-credentials': '{host} could not be read: the proxy rejects the credentials in its URL.',
  'content-wrong': 'The bytes from the registry do not match the digest {digest}.',
  'manifest-wrong': 'The manifest from the registry does not match digest {digest}.',
  'blob-missing': '{host} does not have the blob {digest}.',
  'parameter-unknown': 'Unknown parameter {text}. Supported: {names}.',
  'parameter-unexpected': 'Unknown parameter {text}.',
  'option-missing': '{option} is missing.',
  'option-repeated': '{option} is given more than once.',
  'option-empty': '{option} is empty.',
  'option-wrong': '{option} has an invalid value.',
  'option-short': '{option} must have at least {limit} characters.',
  'option-long': '{option} must have at most {limit} characters.',
  'option-often': '{option} may be given at most {limit} times.',
  'option-choice': '{option} must be {choices}.',
  'option-flag': '{option} is {text}, but must be 0 or 1.',
  'option-integer': '{option} is {text}, but must be a whole number from 1.',
  'option-value': '{option} is {text}, but must be {choices}.',
  'size-invalid': '{option} is {text}, but must be a size such as 4GiB or 25MB.',
  'size-small': '{option} is {text}, but must be at least {limit}.',
  'image-unnamed': 'The parameter myimage is missing: name an image, as in /dl?myimage=busybox.',
  'image-single': 'Name one image, as in ?myimage=busybox.',
  'path-unnamed': 'The parameter path is missing: name a file, as in &path=/etc/os-release.',
  'tags-count': 'The parameter n must be a number of tags.',
  'images-exceeded': 'The request names {count} images; one archive holds at most {limit}.',
  'have-exceeded': '{option} names {count} images; at most {limit} are allowed.',
  'referrers-format': '{option} requires {formats}. An archive with {format} cannot hold referrers.',
  'squash-format':
    '{option} requires {formats}. An archive with {format} cannot join the layers of an image.',
  'platforms-format': 'Several platforms require {formats}. An archive with {format} is for one platform.',
  'have-format': '{option} requires another format. An archive with {format} always includes all layers.',
  'have-layers': '{option} is only for images. An archive with {format} has no layers.',
  'name-format': '{option} requires another format. An archive with {format} has no name.',
  'name-single': '{option} requires one image, but {count} are given.',
  'name-digest': '{option} is {text}, but must not have a digest.',
  'format-single': 'An archive with {format} contains one image. Request each image in its own file.',
  'compress-format': '{option} requires {formats}. Loaders do not read other formats if they are compressed.',
  'compress-excludes':
    '{option} and {other} exclude each other, because the length of a compressed file is unknown until it has been sent.',
  'checksum-and-metalink':
    'The parameters checksum and metalink request two files. Choose one: a metalink includes the checksum.',
  'path-ending': '{path} does not end in .tar.',
  'parts-missing': '{option} is missing. Add the size of a part, as in {example}.',
  'parts-exceeded':
    'The archive would have {count} parts, but at most {limit} are allowed. Request larger parts, as in {example}.',
  'part-missing': 'The last part of the archive is number {count}, so {part} does not exist.',
  'part-unnamed':
    'The parameter part is missing. Choose one of {count} parts, as in &part=1, or add &checksum=1 for the checksums of all parts.',
  'metalink-large':
    'The archive would have {count} parts, but a metalink has at most {limit}. Request larger parts, or one of them with &part=1.',
  'metalink-without-host':
    'The metalink has no URL for the file, because the Host header names no usable host.',
  'length-unknown': 'This archive is created while it is sent, so it has no parts, checksum, or metalink.',
  'delta-whole': 'This archive is created while it is sent, and always includes all layers.',
  'repository-alone': '{text} names a tag or a digest. Name the repository alone.',
  'redirect-engine':
    'This service takes images from a Docker Engine, so files have no URL by digest. Omit the parameter redirect to download the file.',
  'etag-other': 'If-Match names another version of the file.',
  'etag-missing': 'The archive is created for each request and has no ETag. Omit If-Match.',
  'range-outside': 'The file has {size} bytes.',
  'challenge-missing': 'This ACME challenge does not exist.',
  'request-slow': 'The request did not arrive in time.',
  'head-large': 'The headers of the request are too large.',
  'http-version-other': 'The request line names a version of HTTP that this service does not support.',
  'http-version-named': 'The request line names HTTP/{version}, which this service does not support.',
  'host-unnamed': 'The Host header names no host to redirect to.',
  'host-ambiguous': 'The request does not name exactly one host in its Host header.',
  'target-foreign': 'The request target is neither a path nor a URL of the host in the Host header.',
  'body-unwanted': 'The request has a body, but this service accepts none here.',
  'method-unsupported': 'This address accepts only {methods}.',
  'url-long': 'The URL has more than {limit} characters.',
  'requests-pipelined': 'The connection has more than {limit} requests in flight, or one that was refused.',
  'form-incomplete': 'The form must have the fields user and password.',
  'authorization-scheme': 'The Authorization header is not of the Basic scheme.',
  'credentials-ambiguous':
    'The images come from several registries. Name the one that the credentials are for, as in {example}.',
  'credentials-engine': 'Images come from a Docker engine, which uses only credentials of the operator.',
  'credentials-http': 'This service accepts credentials only over HTTPS.',
  'credentials-without-access': 'The credentials of this request give no access to it.',
  'credentials-elsewhere':
    'The credentials of this request are for {host}. For {registry}, use the user name {example}.',
  'credentials-refused': '{host} does not accept the credentials of this request.',
  'registry-reason': 'Its reason: {text}.',
  'logins-failed': '{host} refused too many credentials from the clients of this service.',
  'configured-credentials-unreadable': 'The credentials that are configured here cannot be read.',
  'configured-credentials-refused': 'The credentials configured for {host} are refused.',
  'registry-path-unknown': 'The registry API does not have this address.',
  'token-required': 'Get a token first.',
  'media-type-refused': '{image} has the media type {type}, which the Accept header does not include.',
  'repository-invalid':
    '{text} is not a repository name. Write it in lowercase, such as docker.io/library/busybox.',
  'registry-invalid': '{text} is not the host of a registry.',
  'repository-lacks-blob': '{repository} does not have the blob {digest}.',
  'digest-check': 'Check the digest.',
  'manifest-first': 'First pull a signed manifest that names the blob.',
  'image-large': 'The image has {size} bytes. This service sends at most {limit} bytes.',
  'metadata-large': '{host} sent more than {limit} bytes of metadata.',
  'gzip-damaged': '{host} sent a gzip body that cannot be decompressed.',
  'redirects-exceeded': '{host} redirects too many times.',
  'redirect-invalid': '{host} redirects to an invalid URL.',
  'token-missing': 'The token server of {host} sent no token.',
  'token-url-invalid': '{host} names a token server with an invalid URL.',
  'token-server-refused': 'The token server of {host}, {url}, is refused.',
  'blob-slow': '{host} sends too slowly.',
  'blob-ended-early': '{host} ended the blob {digest} early.',
  'blob-range-other': 'The blob {digest} was requested by range, but another range was sent.',
  'blob-size-wrong': 'The manifest states {size} bytes for the blob {digest}, but {host} sends {actual}.',
  'blob-size-exceeded': 'The manifest states {size} bytes for the blob {digest}, but {host} sends more.',
  'blob-size-unknown': '{host} does not state the size of {digest}.',
  'blob-sizes-differ': 'The registry states two sizes for the blob {digest}.',
  'blob-length-wrong': 'The blob {digest} does not have the length that the manifest states.',
  'fetch-restarted': 'The fetch of {digest} has restarted.',
  'search-unreadable': 'The response to the search has no list of results.',
  'mirrors-without-image': 'The mirrors that responded do not have the image.',
  'referrers-endless': '{host} sends an endless list of referrers of {digest}.',
  'referrers-unreadable': 'A page of the referrers of {digest} cannot be read.',
  'referrers-exceeded':
    '{image} has {count} images and indexes. A request looks up the referrers of at most {limit}. Omit &referrers=1, or request fewer images at once.',
  'tags-unreadable': '{host} sent a list of tags that cannot be read.',
  'cost-requests': 'This request needs more than {limit} requests to registries.',
  'cost-bytes': 'This request needs more than {limit} MiB of manifests and configs.',
  'cost-manifests': 'This request needs more than {limit} manifests.',
  'cost-blobs': 'This request needs more than {limit} layers.',
  'cost-advice': 'Request fewer images or platforms at once, or an image by the digest of its manifest.',
  'manifest-unreadable': 'The registry sent a manifest that is not a JSON object.',
  'manifest-type': 'The registry sent a manifest of the media type {type}, which is not an image type.',
  'manifest-ambiguous': 'The registry sent a document that can be read both as a manifest and as an index.',
  'manifest-field': 'The registry sent a manifest whose field {field} is invalid.',
  'manifest-list-long': 'The registry sent a manifest whose field {field} has more than {limit} entries.',
  'index-deep': 'The index of {image} has more than {limit} levels.',
  'index-large': 'The index of {image} has more than {limit} manifests.',
  'index-contradicts': 'The index of {image} contradicts itself.',
  'config-large': 'The config of {image} is too large.',
  'layers-differ': 'The manifest and the config of {image} list different layers.',
  'foreign-layers':
    '{host} states no source for {count} foreign layers. This service looks for at most {limit}.',
  'layer-undistributed': '{host} does not distribute the layer {digest}.',
  'formats-possible': 'Request it with {formats}.',
  'image-has-layers': '{image} is a container image, which has layers instead of files.',
  'artifact-empty': '{image} has no files.',
  'image-and-artifact':
    '{artifact} is not a container image, but {image} is one. Request them together with {formats}, or one after the other.',
  'not-image': '{image} is not a container image.',
  'file-missing': 'The image has no file {path}.',
  'file-without-content': '{path} is a device or a pipe and has no content.',
  'contents-unread': 'The files of this image are unknown until {size} bytes of its layers have been read.',
  'scans-exceeded': 'This service is reading the layers of too many images. Try again later.',
  'memory-files':
    'This service is out of memory for the files of large images. Try again when another download has ended.',
  'memory-client':
    'Your requests use all the memory that one address may use for metadata of archives. Try again when one of them has ended.',
  'memory-archives':
    'This service is out of memory for the metadata of archives. Try again in a few seconds.',
  'image-files-exceeded': 'The layers of the image have more than {limit} files.',
  'image-unpacked-exceeded': 'The layers of the image have more than {limit} bytes unpacked.',
  'image-metadata-exceeded': 'The layers of the image have more than {limit} bytes of metadata.',
  'layer-files-exceeded': 'The layer {digest} has more than {limit} files.',
  'layer-names-exceeded': 'The layer {digest} has more than {limit} bytes of file names.',
  'layer-unpacked-exceeded': 'The layer {digest} has more than {limit} bytes unpacked.',
  'layer-invalid': 'The layer {digest} cannot be unpacked.',
  'layer-digest-wrong': 'Its unpacked digest is not the one in the config.',
  'layer-changed': 'The unpacked layer {digest} is shorter than before.',
  'compression-damaged': 'Its compressed data is damaged.',
  'tar-ended': 'Its tar archive ends in the middle of an entry.',
  'tar-end-damaged': 'Its tar archive has a damaged end: data follows the first of the two final blocks.',
  'tar-header': 'Its tar archive has a damaged header.',
  'tar-extension': 'Its tar archive has an extended header that cannot be read.',
  'tar-extension-large': 'Its tar archive has an extended header of more than {limit} bytes.',
  'tar-sparse': 'Its tar archive has a sparse file whose map cannot be read.',
  'tar-sparse-large': 'Its tar archive has a sparse file of more than {limit} segments.',
  'tar-type': 'Its tar archive has an entry of the unknown type {type}.',
  'tar-path': 'Its tar archive has a path of more than {limit} bytes.',
  'tar-owner': 'Its tar archive has an owner that is not a number of 32 bits.',
  'tar-device': 'Its tar archive has a device number that is too large.',
  'entry-below-file': 'The path of an entry goes through a file instead of a directory.',
  'entry-below-loop': 'The path of an entry goes through a symbolic link that refers to itself.',
  'entry-name-long': 'A file name has more than {limit} bytes.',
  'entry-path-long': 'A path has more than {limit} bytes when its symbolic links are followed.',
  'entry-whiteout': 'A whiteout names no file.',
  'entry-root': 'The root of the file system is not a directory.',
  'entry-link-target': 'The target of a hard link does not exist.',
  'entries-exceeded': 'The image has more than {limit} files.',
  'archive-exceeded': 'The archive has more than {limit} bytes, the maximum of this service.',
  'archive-removed': 'The archive from the engine was removed before it could be sent. Please retry.',
  'engine-without-files': 'A Docker engine does not list the files of images.',
  'engine-not-found': 'The Docker engine of this service cannot be found.',
  'engine-silent': 'The Docker engine of this service does not respond.',
  'engine-refused': 'The Docker engine refused the request.',
  'engine-unreadable': 'The Docker engine sent a response that cannot be read.',
  'engine-lacks-layers': 'The Docker engine lacks layers of the image to save.',
  'engine-lacks-image': 'The engine does not have {image}, and this service pulls no images.',
  'engine-images-missing': 'The engine saved {count} of {wanted} images.',
  'engine-index-empty': 'The engine saved an index that names no images.',
  'engine-manifest-missing': 'The engine saved {path}, but that is not a manifest.',
  'engine-file-unreadable': 'The engine saved a {path} that cannot be read.',
  'engine-file-large': 'The engine saved a {path} of more than {limit} bytes.',
  'engine-files-exceeded': 'The archive of the engine names more files than this service can check.',
  'engine-archive-incomplete':
    'The engine saved an incomplete archive. Missing files: {count}, such as {path}.',
  'engine-archive-cut': 'The engine stopped before the end of the archive.',
  'engine-image-changed': '{images} changed while the engine saved the archive.',
  'engine-image-lost': 'The engine lost {image} after its pull.',
  'engine-queue-full': 'The queue of the engine is full: {count} requests are waiting.',
  'engine-delta': 'A Docker engine saves whole images.',
  'engine-name': 'A Docker engine saves images under their own names. Omit the parameter name.',
  'engine-format': 'A Docker engine saves images only in {format}.',
  'engine-pull-failed': 'The engine could not pull {image}.',
  'engine-read-failed': 'The engine could not read {image} from {host}.',
  'engine-layers-exceeded': '{image} has more layers than the engine can combine.',
  'image-outdated-at': '{host} has {image} only in Docker schema 1 format.',
  'image-bytes-wrong': 'The bytes from {host} for {image} do not match their digest.',
  'image-incomplete': '{host} does not have all parts of {image}.',
  'platform-unavailable': '{image} is not available for {platform}.',
  'platform-of-engine': '{image} is not available for the platform of the engine.',
  'page-missing': 'This address does not exist.',
  'request-unreadable': 'The request cannot be read.',
  'failure-internal': 'An unexpected error occurred in this service.',
} as const;

export type DetailId = Exclude<keyof typeof DETAILS, 'parameter'>;

/** Names the parameters of a sentence: `'host' | 'status'` for `{host} … {status}`. */
type Parameters<Text> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Parameters<Rest>
  : never;

/** A period in milliseconds, which each language writes in its own way. */
export interface Period {
  readonly milliseconds: number;
}

/** A parameter of a URL, which each language introduces in its own way: `the parameter parts`. */
export interface NamedParameter {
  readonly parameter: string;
}

/** Alternatives, which each language joins in its own way: `a, b, or c`. */
export interface Alternatives {
  readonly anyOf: readonly string[];
}

export type DetailValue = string | number | Period | NamedParameter | Alternatives;

/** A sentence of {@link DETAILS} with its values. */
export interface Detail {
  readonly id: DetailId;
  readonly values: Readonly<Record<string, DetailValue>>;
}

/** Creates a sentence that the page translates. */
export function detail<Id extends DetailId>(
  id: Id,
  values: Readonly<Record<Parameters<(typeof DETAILS)[Id]>, DetailValue>>,
): Detail {
  return { id, values };
}

/** Writes sentences in English, as programs and logs read them. */
export function inEnglish(sentences: readonly Detail[]): string {
  return sentences.map(({ id, values }) => fillIn(DETAILS[id], values, english)).join(' ');
}

/**
 * Replaces the parameters of a text by their values. A word at its beginning gets a capital letter.
 *
 * @param write writes a value in the language of the text
 */
export function fillIn(
  text: string,
  values: Detail['values'],
  write: (value: DetailValue) => string,
): string {
  return text.replace(/\{(\w+)\}/g, (name, key: string, at: number) => {
    const value = values[key];
    if (value === undefined) return name;
    const written = write(value);
    const beginsWithWord = at === 0 && typeof value === 'object' && 'parameter' in value;
    return beginsWithWord ? `${written.charAt(0).toUpperCase()}${written.slice(1)}` : written;
  });
}

function english(value: DetailValue): string {
  if (typeof value !== 'object') return `${value}`;
  if ('milliseconds' in value) return formatDuration(value.milliseconds);
  if ('anyOf' in value) return listAlternatives('en', value.anyOf);
  return fillIn(DETAILS.parameter, { name: value.parameter }, english);
}

/** Joins alternatives as a language does: `a, b, or c`. */
export function listAlternatives(lang: string, alternatives: readonly string[]): string {
  return new Intl.ListFormat(lang, { type: 'disjunction' }).format(alternatives);
}
