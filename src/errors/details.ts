import { formatDuration } from '../util/duration.ts';

/**
 * The sentences about one case that visitors of the page read in their language, in English. web/details/ has the
 * translations, with the same parameters.
 */
export const DETAILS = {
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
  'page-missing': 'This address does not exist.',
  'request-unreadable': 'The request cannot be read.',
  'failure-internal': 'An unexpected error occurred in this service.',
} as const;

export type DetailId = keyof typeof DETAILS;

/** Names the parameters of a sentence: `'host' | 'status'` for `{host} … {status}`. */
type Parameters<Text> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Parameters<Rest>
  : never;

/** A period in milliseconds, which each language writes in its own way. */
export interface Period {
  readonly milliseconds: number;
}

export type DetailValue = string | number | Period;

/** A sentence of {@link DETAILS} with its values. */
export interface Detail {
  readonly id: DetailId;
  readonly values: Readonly<Record<string, DetailValue>>;
}

/** A sentence with translations, or one in English only. */
export type Sentence = Detail | string;

/** Creates a sentence that the page translates. */
export function detail<Id extends DetailId>(
  id: Id,
  values: Readonly<Record<Parameters<(typeof DETAILS)[Id]>, DetailValue>>,
): Detail {
  return { id, values };
}

/** Writes sentences in English, as programs and logs read them. */
export function inEnglish(sentences: readonly Sentence[]): string {
  return sentences
    .map((sentence) =>
      typeof sentence === 'string' ? sentence : fillIn(DETAILS[sentence.id], sentence.values, english),
    )
    .join(' ');
}

/** Replaces the parameters of a text by their values. @param write writes a value in the language of the text */
export function fillIn(
  text: string,
  values: Detail['values'],
  write: (value: DetailValue) => string,
): string {
  return text.replace(/\{(\w+)\}/g, (name, key: string) => {
    const value = values[key];
    return value === undefined ? name : write(value);
  });
}

function english(value: DetailValue): string {
  return typeof value === 'object' ? formatDuration(value.milliseconds) : `${value}`;
}
