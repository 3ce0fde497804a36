import { detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';
import { type ConfigSummary, parseTimestamp, summariseConfig } from './config-summary.ts';
import type { Descriptor } from './descriptor.ts';
import { isDigest, isOfNothing } from './digest.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from './json.ts';
import type { StatedPlatform } from './platform.ts';

/**
 * The media types that this service requests and reads.
 *
 * @see https://github.com/opencontainers/image-spec/blob/main/media-types.md
 */
export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/**
 * Matches the config media types of images. It excludes plugins, whose type also begins with `application/vnd.docker`
 * and whose config looks like an image's.
 *
 * @see https://github.com/moby/moby/blob/v28.5.2/distribution/registry.go#L29 ImageTypes
 */
const CONFIG_TYPE = /^application\/vnd\.(?:oci\.image|docker(?!\.plugin))(?:[.+]|$)/;
/**
 * Config types from older tools and registries that say nothing about the content, so that the config itself decides.
 */
const VAGUE_CONFIG_TYPES: ReadonlySet<string> = new Set([
  'application/octet-stream',
  'application/json',
  'text/html',
  '',
]);
const LAYER_TYPE =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[.+](?:gzip|zstd))?$/;
/** Layer types from older tools. They are accepted, because loaders detect the format from the bytes. */
const VAGUE_LAYER_TYPES: ReadonlySet<string> = new Set([
  'application/octet-stream',
  'application/x-gzip',
  'application/gzip',
  'application/x-tar',
  'application/vnd.docker.container.image.rootfs.diff+x-gtar',
  '',
]);
const FOREIGN_LAYER_TYPE = /\.(?:nondistributable\.v1|foreign\.diff)\.tar/;
/**
 * Engines take 125 to 500 layers; the largest indexes have some dozens of images. These limits hold for one document,
 * while it is parsed; the budget of a request counts the layers of all its images.
 */
const LAYERS_MAX = 1000;
const INDEX_MAX = 1000;
/**
 * The maximum number of URLs of a layer. Each is tried in turn, and a manifest must not cause thousands of requests.
 */
const URLS_MAX = 3;
/** Maximum characters of a URL. */
const URL_MAX = 8192;
/** Maximum characters of other texts: a media type, an annotation, the digest of an unpacked layer. */
const TEXT_MAX = 4096;
const PLATFORM_WORD = /^[A-Za-z0-9][\w.+-]{0,63}$/;
const SCHEMA_1_TYPE = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/;

/** The annotations that are kept. All others are ignored, because they could be megabytes. */
export const ANNOTATIONS = {
  referenceType: 'vnd.docker.reference.type',
  referenceDigest: 'vnd.docker.reference.digest',
  zstd: 'io.github.containers.compression.zstd',
  cosignSignature: 'dev.cosignproject.cosign/signature',
  bundlePredicate: 'dev.sigstore.bundle.predicateType',
  title: 'org.opencontainers.image.title',
  unpack: 'io.deis.oras.content.unpack',
  estargzToc: 'containerd.io/snapshot/stargz/toc.digest',
  zstdChunkedDigest: 'io.github.containers.zstd-chunked.manifest-checksum',
  zstdChunkedPosition: 'io.github.containers.zstd-chunked.manifest-position',
  // Podman before 4.4 wrote these names.
  zstdChunkedOldDigest: 'io.containers.zstd-chunked.manifest-checksum',
  zstdChunkedOldPosition: 'io.containers.zstd-chunked.manifest-position',
} as const;

/** The manifest of one image, which determines its archive. */
export interface ImageManifest {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly config: Descriptor;
  /** From the base upwards; the same layer may stand here several times. */
  readonly layers: readonly Descriptor[];
}

/** An index (Docker: manifest list) of manifests for several platforms, attestations omitted. */
export interface ImageIndex {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
}

/** The used properties of an image config, in at most a few hundred kilobytes. */
export interface ImageConfig {
  readonly platform: StatedPlatform;
  /** The digests of the unpacked layers, from the base upwards, as engines know them; undefined for other values. */
  readonly diffIds: readonly (string | undefined)[];
  readonly created: Date | undefined;
  readonly summary: ConfigSummary;
}

/**
 * Reads the bytes of a manifest or an index; `contentType` is the registry's, for bodies without a `mediaType`.
 *
 * @throws ServiceError `manifest-outdated`, `not-an-image`, `too-many-layers`, or `registry-failed` for anything but a
 *   manifest
 * @see https://github.com/opencontainers/image-spec/blob/main/manifest.md
 * @see https://distribution.github.io/distribution/spec/manifest-v2-2/
 */
export function parseManifest(
  bytes: Uint8Array,
  contentType: string | undefined,
): ImageManifest | ImageIndex {
  const body = parseJsonObject(bytes);
  if (body === undefined) throw malformed('manifest-unreadable');
  const mediaType = mediaTypeOf(body, contentType);
  if (body.schemaVersion === 1 || SCHEMA_1_TYPE.test(mediaType)) {
    throw new ServiceError('manifest-outdated', detail('image-outdated', {}));
  }
  switch (mediaType) {
    case MEDIA_TYPES.ociIndex:
    case MEDIA_TYPES.dockerIndex:
      return {
        kind: 'index',
        mediaType,
        manifests: indexEntries(body.manifests).filter(isImageEntry),
      };
    case MEDIA_TYPES.ociManifest:
    case MEDIA_TYPES.dockerManifest:
      return imageManifest(body, mediaType);
    default:
      throw new ServiceError('registry-failed', detail('manifest-type', { type: quote(mediaType) }));
  }
}

/** Content types that say nothing about a manifest. */
const GENERIC_TYPE =
  /^(?:application\/(?:json|octet-stream|x-unknown)|text\/(?:plain|html)|binary\/octet-stream|)$/;

/** Tells whether a Content-Type does not identify the kind of a manifest. */
export function isGenericType(contentType: string | undefined): boolean {
  return GENERIC_TYPE.test(withoutParameters(contentType));
}

/** Returns the media type of a manifest: that of the response or, if it is generic, that of the manifest itself. */
export function manifestMediaType(bytes: Uint8Array, contentType: string | undefined): string {
  if (!isGenericType(contentType)) return withoutParameters(contentType);
  return statedType(parseJsonObject(bytes) ?? {}, contentType);
}

/** The descriptors in a manifest or an index of any kind, and the type that it states for its content. */
export type ManifestLinks = (
  | { readonly kind: 'index'; readonly manifests: readonly Descriptor[] }
  | { readonly kind: 'manifest'; readonly config: Descriptor; readonly layers: readonly Descriptor[] }
) & {
  readonly mediaType: string;
  /** The type of an artifact: its `artifactType`, else the type of its config. Undefined for an index without one. */
  readonly artifactType: string | undefined;
};

/**
 * Reads what a manifest or an index names, attestations and other artifacts included.
 *
 * @throws ServiceError `registry-failed` if it cannot be read
 */
export function parseManifestLinks(bytes: Uint8Array, contentType: string | undefined): ManifestLinks {
  const body = parseJsonObject(bytes);
  if (body === undefined) throw malformed('manifest-unreadable');
  const mediaType = mediaTypeOf(body, contentType);
  const artifactType = isShort(body.artifactType) && body.artifactType !== '' ? body.artifactType : undefined;
  if (isIndexType(mediaType))
    return { kind: 'index', mediaType, artifactType, manifests: indexEntries(body.manifests) };
  const config = blobDescriptor(body.config, 'config');
  return {
    ...{ kind: 'manifest', mediaType, artifactType: artifactType ?? config.mediaType, config },
    layers: layerDescriptors(body.layers),
  };
}

/** Tells whether a descriptor in an index points at an image or at an index of images. */
export function isImageEntry({ platform, annotations }: Descriptor): boolean {
  // Attestations are entries of an index like images, with the platform unknown/unknown.
  if (annotations?.[ANNOTATIONS.referenceType] === 'attestation-manifest') return false;
  return !(platform?.os === 'unknown' && platform.architecture === 'unknown');
}

/**
 * Tells whether an entry stays in an index that is reduced to some of its images.
 *
 * @param kept the digests of the images that stay; their attestations stay, too
 */
export function isKeptEntry({ digest, annotations }: Descriptor, kept: ReadonlySet<string>): boolean {
  return kept.has(digest) || kept.has(annotations?.[ANNOTATIONS.referenceDigest] ?? '');
}

/** Rewrites an index with only the entries that {@link isKeptEntry} accepts. Other members are unchanged. */
export function filterIndex(bytes: Uint8Array, kept: ReadonlySet<string>): Uint8Array {
  const body = parseJsonObject(bytes);
  if (body === undefined || !Array.isArray(body.manifests)) throw invalidField('manifests');
  const manifests = body.manifests.filter((entry, at) => isKeptEntry(indexEntry(entry, at), kept));
  return new TextEncoder().encode(JSON.stringify({ ...body, manifests }));
}

/**
 * Reads the bytes of an image config.
 *
 * @throws ServiceError `not-an-image` if it does not describe a root file system
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const body = parseJsonObject(bytes);
  // Docker writes no such list for an image without layers.
  const diffIds = isJsonObject(body?.rootfs) ? (body.rootfs.diff_ids ?? []) : undefined;
  const platform = platformOf(body);
  if (platform === undefined || !Array.isArray(diffIds) || diffIds.length > LAYERS_MAX) {
    throw new ServiceError('not-an-image', detail('config-odd', {}));
  }
  return {
    platform,
    diffIds: diffIds.map((id) => (isShort(id) ? id : undefined)),
    created: parseTimestamp(body?.created),
    summary: summariseConfig(body?.config),
  };
}

/** Tells whether a descriptor points at an index, so that its entries state the platforms. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.ociIndex || mediaType === MEDIA_TYPES.dockerIndex;
}

/** Tells whether a layer may be missing from the registry by intent (Windows base layers). */
export function isForeignLayer({ mediaType }: Descriptor): boolean {
  return FOREIGN_LAYER_TYPE.test(mediaType);
}

/** Tells whether a layer's media type states a compression, so that its digest differs from its diff ID. */
export function isCompressedLayer({ mediaType }: Descriptor): boolean {
  return /[.+](?:gzip|zstd)$/.test(mediaType);
}

/** Tells whether a layer is compressed with zstd, which Docker before 23.0 cannot load. */
export function isZstdLayer({ mediaType }: Descriptor): boolean {
  return mediaType.endsWith('zstd');
}

/**
 * Tells whether an index annotates an image as having zstd layers, as buildah and podman do.
 *
 * @see https://github.com/containers/image/blob/v5.36.2/internal/manifest/oci_index.go OCI1InstanceAnnotationCompressionZSTD
 */
export function isZstdEntry({ annotations }: Descriptor): boolean {
  return annotations?.[ANNOTATIONS.zstd] === 'true';
}

function imageManifest(body: JsonObject, mediaType: string): ImageManifest {
  const config = blobDescriptor(body.config, 'config');
  if (Array.isArray(body.layers) && body.layers.length > LAYERS_MAX) {
    throw new ServiceError(
      'too-many-layers',
      detail('layers-exceeded', { count: body.layers.length, limit: LAYERS_MAX }),
    );
  }
  const layers = layerDescriptors(body.layers);
  const artifact =
    typeof body.artifactType === 'string' && body.artifactType !== '' ? body.artifactType : undefined;
  const isImage = isImageConfig(config) || (artifact === undefined && isVagueConfig(config));
  const alien = isImage
    ? layers.find((layer) => !LAYER_TYPE.test(layer.mediaType) && !isVague(layer, VAGUE_LAYER_TYPES))
        ?.mediaType
    : (artifact ?? config.mediaType);
  if (alien !== undefined) {
    throw new ServiceError('not-an-image', detail('artifact-type', { type: quote(alien) }));
  }
  return { kind: 'image', mediaType, config, layers };
}

/** Tells whether the media type of a config is that of an image. */
export function isImageConfig({ mediaType }: Descriptor): boolean {
  return CONFIG_TYPE.test(mediaType);
}

/** Tells whether the media type of a config leaves open whether the manifest describes an image. */
export function isVagueConfig(config: Descriptor): boolean {
  return isVague(config, VAGUE_CONFIG_TYPES);
}

function isVague({ mediaType }: Descriptor, types: ReadonlySet<string>): boolean {
  return types.has(mediaType.replace(/;.*$/s, '').trim().toLowerCase());
}

/**
 * Returns the media type of an index or a manifest. A body that could be read as both is refused.
 *
 * @see https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m CVE-2021-41190
 */
function mediaTypeOf(body: JsonObject, contentType: string | undefined): string {
  const mediaType = statedType(body, contentType);
  const hasManifests = body.manifests != null;
  const hasContent = body.config != null || body.layers != null;
  if (hasManifests && hasContent) throw malformed('manifest-ambiguous');
  if (isIndexType(mediaType) && hasContent) throw malformed('manifest-ambiguous');
  if (isManifestType(mediaType) && hasManifests) throw malformed('manifest-ambiguous');
  return mediaType;
}

function statedType(body: JsonObject, contentType: string | undefined): string {
  const sent = withoutParameters(contentType);
  if (typeof body.mediaType === 'string') {
    const isOther =
      (isIndexType(sent) && isManifestType(body.mediaType)) ||
      (isManifestType(sent) && isIndexType(body.mediaType));
    if (isOther) throw malformed('manifest-ambiguous');
    return body.mediaType;
  }
  if (isIndexType(sent) || isManifestType(sent) || SCHEMA_1_TYPE.test(sent)) return sent;
  // OCI allows a body without mediaType, and some registries send application/json: the members decide.
  return Array.isArray(body.manifests) ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest;
}

function withoutParameters(contentType = ''): string {
  return contentType.replace(/;.*$/s, '').trim().toLowerCase();
}

function isManifestType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.ociManifest || mediaType === MEDIA_TYPES.dockerManifest;
}

function layerDescriptors(value: unknown): Descriptor[] {
  return list(value, 'layers', LAYERS_MAX).map((item, at) => blobDescriptor(item, `layers[${at}]`));
}

/**
 * Reads the descriptor of a blob. Refuses a false size of 0, because the archive would look complete with an empty file.
 */
function blobDescriptor(value: unknown, field: string): Descriptor {
  const blob = descriptor(value, field);
  if (blob.size === 0 && !isOfNothing(blob.digest)) throw invalidField(`${field}.size`);
  return blob;
}

function indexEntries(value: unknown): Descriptor[] {
  return list(value, 'manifests', INDEX_MAX).map(indexEntry);
}

/**
 * Reads an entry of an index. Accepts any size, because nothing reads it; skopeo and crane ignore it, too.
 */
function indexEntry(value: unknown, at: number): Descriptor {
  const entry = isJsonObject(value) && !isSize(value.size) ? { ...value, size: 0 } : value;
  return descriptor(entry, `manifests[${at}]`);
}

function list(value: unknown, field: string, most: number): readonly unknown[] {
  // Go writes null for a list without entries.
  if (value === null) return [];
  if (!Array.isArray(value)) throw invalidField(field);
  if (value.length > most) throw tooLong(field, most);
  return value;
}

function descriptor(value: unknown, field: string): Descriptor {
  if (!isJsonObject(value)) throw invalidField(field);
  const { digest, size, urls, artifactType, annotations } = value;
  // Go reads an absent type as an empty one, so Docker and skopeo accept both.
  const mediaType = value.mediaType ?? '';
  if (!isShort(mediaType)) throw invalidField(`${field}.mediaType`);
  if (!isDigest(digest)) throw invalidField(`${field}.digest`);
  if (!isSize(size)) throw invalidField(`${field}.size`);
  const platform = platformOf(value.platform);
  return {
    mediaType,
    digest,
    size,
    ...(Array.isArray(urls) && { urls: urls.filter((url) => isShort(url, URL_MAX)).slice(0, URLS_MAX) }),
    ...(platform && (platform.os ?? platform.architecture) !== undefined && { platform }),
    ...(isShort(artifactType) && { artifactType }),
    ...(isJsonObject(annotations) && { annotations: usedOf(annotations) }),
  };
}

/** Reads a platform, whose fields may be absent; undefined if a field is not a plain word. */
function platformOf(value: unknown): StatedPlatform | undefined {
  if (!isJsonObject(value)) return undefined;
  const [os, architecture, variant, osVersion] = [
    value.os,
    value.architecture,
    value.variant,
    value['os.version'],
  ].map((word) => (word === '' || word === null ? undefined : word));
  // Platforms are shown to people and in logs, so only plain words are accepted.
  if (!isPlatformWord(os ?? 'absent') || !isPlatformWord(architecture ?? 'absent')) return undefined;
  return {
    ...(isPlatformWord(os) && { os }),
    ...(isPlatformWord(architecture) && { architecture }),
    ...(isPlatformWord(variant) && { variant }),
    ...(isPlatformWord(osVersion) && { osVersion }),
  };
}

function isPlatformWord(value: unknown): value is string {
  return typeof value === 'string' && PLATFORM_WORD.test(value);
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isShort(value: unknown, most = TEXT_MAX): value is string {
  return typeof value === 'string' && value.length <= most;
}

function usedOf(annotations: JsonObject): Record<string, string> {
  const used = Object.values(ANNOTATIONS).flatMap((name): [string, string][] => {
    const text = Object.hasOwn(annotations, name) ? annotations[name] : undefined;
    return isShort(text) ? [[name, text]] : [];
  });
  return Object.fromEntries(used);
}

function malformed(id: 'manifest-unreadable' | 'manifest-ambiguous'): ServiceError {
  return new ServiceError('registry-failed', detail(id, {}));
}

function invalidField(field: string): ServiceError {
  return new ServiceError('registry-failed', detail('manifest-field', { field }));
}

function tooLong(field: string, limit: number): ServiceError {
  return new ServiceError('registry-failed', detail('manifest-list-long', { field, limit }));
}
