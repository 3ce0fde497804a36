import type { ArchiveImage } from '../../archive/entries.ts';
import { detail } from '../../errors/details.ts';
import { isOutage, ServiceError } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  type ImageIndex,
  type ImageManifest,
  isForeignLayer,
  isIndexType,
  isZstdEntry,
  isZstdLayer,
} from '../../oci/manifest.ts';
import {
  completed,
  formatPlatform,
  isComplete,
  type Platform,
  type StatedPlatform,
  selectPlatform,
  selectPlatforms,
} from '../../oci/platform.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../../registry/client.ts';
import { type Documents, parsing } from '../documents.ts';

export interface ResolveOptions {
  /** The requested platform; undefined for any. */
  readonly platform: Platform | undefined;
  readonly defaultPlatform: Platform;
  /** True if a digest always selects exactly its manifest, even if the request names another platform. */
  readonly digestDecides?: boolean;
  /** True if images without zstd layers are preferred among equals. */
  readonly prefersGzip: boolean;
  /** Parses manifests and configs. */
  readonly documents?: Documents;
}

export interface ResolvedImage extends ArchiveImage {
  readonly configBytes: Uint8Array;
  /** The platform from the config. Absent fields are taken from the index, if it states them. */
  readonly platform: StatedPlatform;
  /** The digests of the uncompressed layers, from the base upwards. */
  readonly diffIds: readonly (string | undefined)[];
  /** The index that the reference names, if it names one. */
  readonly indexDigest: Digest | undefined;
  /** The known platforms: all that the index states, or the platform of the config. */
  readonly platforms: readonly StatedPlatform[];
  /** As in {@link FetchedManifest}, of the reference. */
  readonly staleSince: number | undefined;
}

/** A manifest that may be the requested one. */
interface Candidate {
  readonly fetched: FetchedManifest;
  readonly manifest: ImageManifest;
  /** The platform that the index states. */
  readonly stated?: StatedPlatform | undefined;
}

/** A candidate with its config. */
interface Described
  extends Candidate,
    Pick<ResolvedImage, 'configBytes' | 'configPlatform' | 'platform' | 'diffIds'> {}

/** The state of a search through a reference's indexes. */
interface Search {
  readonly client: RegistryClient;
  readonly documents: Documents;
  readonly reference: Reference;
  readonly wanted: Platform;
  readonly prefersGzip: boolean;
  readonly signal: AbortSignal;
  /** The platforms found so far, for the error message. */
  readonly seen: Map<string, StatedPlatform>;
  /** The first fitting image, if it has zstd layers. */
  fallback: Described | undefined;
  /** How many further manifests may still be read to find an alternative to the fallback. */
  alternatives: number;
}

/**
 * The following limits are not rows of the request's budget. They refuse one document or index before anything of it is
 * requested, or end a search with the image that was found.
 */
const CONFIG_LIMIT = 4 * 1024 * 1024;
/** Maximum levels of nested indexes. Real images have one level, seldom two. */
const INDEX_DEPTH_MAX = 16;
/** Builders offer two compressions, so a few reads suffice. Each manifest may count as a pull. */
const ALTERNATIVES_MAX = 4;
/** Layers that are requested from a registry at the same time. */
const LAYERS_AT_ONCE = 8;
/** Engines load images of 125 to 500 layers; few images have more than two that are foreign. */
const LAYERS_ASKED_MAX = 200;
/** Maximum number of platforms in the error message. */
const PLATFORMS_SHOWN = 20;

/**
 * Follows a reference to the manifest of one image: through indexes, nested ones too, to the wanted platform.
 *
 * @throws ServiceError `image-not-found`, `platform-not-found` (with the available platforms), `not-an-image`,
 *   `manifest-outdated`, `layer-unavailable`, or the code of the upstream's failure
 */
export async function resolveImage(
  client: RegistryClient,
  reference: Reference,
  { platform, defaultPlatform, digestDecides = false, prefersGzip, documents = parsing }: ResolveOptions,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const wanted = platform ?? defaultPlatform;
  const search: Search = {
    client,
    documents,
    reference,
    wanted,
    prefersGzip,
    signal,
    seen: new Map(),
    fallback: undefined,
    alternatives: ALTERNATIVES_MAX,
  };
  const fetched = await fetchManifest(search, reference.digest ?? reference.tag ?? 'latest');
  const manifest = documents.manifest(fetched);
  // A digest without a platform selects exactly this manifest, regardless of its platform.
  const isExact = reference.digest !== undefined && (platform === undefined || digestDecides);
  const found =
    manifest.kind === 'index'
      ? ((await searchIndex(search, manifest)) ?? search.fallback)
      : await (isExact ? withConfig : ifWanted)(search, { fetched, manifest });
  if (found === undefined) throw platformNotFound(search);
  await requireForeignLayers(search, found.manifest);
  return {
    ...toImage(reference, found),
    indexDigest: manifest.kind === 'index' ? fetched.digest : undefined,
    platforms: [...search.seen.values()],
    staleSince: fetched.staleSince,
  };
}

/** Returns the digests that a signature of an image can name: the index of its reference, and its own manifest. */
export function signableDigests({ indexDigest, manifest }: ResolvedImage): readonly Digest[] {
  return indexDigest === undefined ? [manifest.digest] : [indexDigest, manifest.digest];
}

async function searchIndex(search: Search, index: ImageIndex, depth = 1): Promise<Described | undefined> {
  const images = index.manifests.filter(({ mediaType }) => !isIndexType(mediaType));
  const complete = images.filter(({ platform }) => platform !== undefined && isComplete(platform));
  for (const { platform } of complete) if (platform) search.seen.set(formatPlatform(platform), platform);
  const fitting = selectPlatforms(search.wanted, complete, ({ platform }) => platform);
  const byCompression = search.prefersGzip
    ? fitting.toSorted((one, other) => Number(isZstdEntry(one)) - Number(isZstdEntry(other)))
    : fitting;
  for (const entry of byCompression) {
    const found = await consider(search, async () => withConfig(search, await fetchImage(search, entry)));
    if (found !== undefined) return found;
  }
  for (const entry of fitting.length > 0 ? [] : index.manifests) {
    const found = await searchEntry(search, entry, depth);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Searches an entry whose platform is incomplete in the index. */
async function searchEntry(search: Search, entry: Descriptor, depth: number): Promise<Described | undefined> {
  if (search.fallback !== undefined && search.alternatives <= 0) return undefined;
  if (isIndexType(entry.mediaType)) {
    if (depth === INDEX_DEPTH_MAX) throw tooDeep(search);
    if (search.fallback !== undefined) search.alternatives -= 1;
    const nested = search.documents.manifest(await fetchManifest(search, entry.digest));
    return nested.kind === 'index' ? searchIndex(search, nested, depth + 1) : undefined;
  }
  const { platform } = entry;
  if (platform !== undefined && (isComplete(platform) || !fits(search, platform))) return undefined;
  try {
    return await consider(search, async () => ifWanted(search, await fetchImage(search, entry)));
  } catch (error) {
    // Skip charts and signatures beside the images.
    if (error instanceof ServiceError && error.code === 'not-an-image') return undefined;
    throw error;
  }
}

function tooDeep({ reference }: Search): ServiceError {
  return new ServiceError(
    'registry-failed',
    detail('index-deep', { image: formatReference(reference), limit: INDEX_DEPTH_MAX }),
  );
}

/**
 * Returns the image that `load` finds. If it has zstd layers and others are preferred, keeps it as the fallback
 * instead. A missing or damaged alternative to the fallback is skipped.
 */
async function consider(
  search: Search,
  load: () => Promise<Described | undefined>,
): Promise<Described | undefined> {
  const { fallback, prefersGzip } = search;
  if (fallback !== undefined && search.alternatives-- <= 0) return undefined;
  try {
    const found = await load();
    if (found === undefined || !prefersGzip || !found.manifest.layers.some(isZstdLayer)) return found;
    search.fallback ??= found;
  } catch (error) {
    // Skipping an image during an outage would choose a different image, and so a different file, than a minute later.
    if (fallback === undefined || isOutage(error) || !(error instanceof ServiceError)) throw error;
  }
  return undefined;
}

function fits({ wanted }: Search, platform: StatedPlatform): boolean {
  return selectPlatform(wanted, [platform], (stated) => stated) !== undefined;
}

function fetchManifest({ client, reference, signal }: Search, target: string): Promise<FetchedManifest> {
  return client.manifest(reference, target, signal);
}

async function fetchImage(search: Search, { digest, platform }: Descriptor): Promise<Candidate> {
  const fetched = await fetchManifest(search, digest);
  const manifest = search.documents.manifest(fetched);
  if (manifest.kind === 'image') return { fetched, manifest, stated: platform };
  throw new ServiceError(
    'registry-failed',
    detail('index-contradicts', { image: formatReference(search.reference) }),
  );
}

/** Reads the config of an image. @throws ServiceError `registry-failed` if it is too large */
export async function readConfig(
  client: RegistryClient,
  reference: Reference,
  config: Descriptor,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (config.size > CONFIG_LIMIT) {
    throw new ServiceError('registry-failed', detail('config-large', { image: formatReference(reference) }));
  }
  const chunks = await client.blobs(reference).read(config, undefined, signal);
  // Allocates one buffer at the start, because joining chunks at the end takes twice the memory.
  const bytes = new Uint8Array(config.size);
  let length = 0;
  for await (const chunk of chunks as AsyncIterable<Buffer>) {
    bytes.set(chunk, length);
    length += chunk.length;
  }
  return bytes;
}

/**
 * Reads the config of a candidate. HEAD reads it, too: the method must not affect whether an image is found.
 */
async function withConfig(search: Search, candidate: Candidate): Promise<Described> {
  const { client, documents, reference, signal } = search;
  const { config, layers } = candidate.manifest;
  await client.checkSizes(reference, [config, ...layers], signal);
  const configBytes = await readConfig(client, reference, config, signal);
  const { platform, diffIds } = documents.config(config.digest, configBytes);
  if (diffIds.length !== layers.length) {
    throw new ServiceError('not-an-image', detail('layers-differ', { image: formatReference(reference) }));
  }
  const wholePlatform = completed(platform, candidate.stated ?? {});
  return { ...candidate, configBytes, diffIds, configPlatform: platform, platform: wholePlatform };
}

/** Returns a candidate if its index and config together state the wanted platform; otherwise undefined. */
async function ifWanted(search: Search, candidate: Candidate): Promise<Described | undefined> {
  const found = await withConfig(search, candidate);
  const platform = completed(candidate.stated ?? {}, found.platform);
  search.seen.set(formatPlatform(platform), platform);
  return fits(search, platform) ? found : undefined;
}

/**
 * Registries can omit foreign layers by intent. The check runs before the first byte, while an error response is still
 * possible.
 */
export async function requireForeignLayers(
  { client, reference, signal }: Pick<Search, 'client' | 'reference' | 'signal'>,
  { layers }: Pick<ImageManifest, 'layers'>,
): Promise<void> {
  const foreign = layers.filter((layer) => isForeignLayer(layer) && !layer.urls?.length);
  const each = [...new Map(foreign.map((layer) => [layer.digest, layer])).values()];
  if (each.length > LAYERS_ASKED_MAX) {
    throw new ServiceError(
      'layer-unavailable',
      detail('foreign-layers', { host: reference.domain, count: each.length, limit: LAYERS_ASKED_MAX }),
    );
  }
  for (let at = 0; at < each.length; at += LAYERS_AT_ONCE) {
    const few = each.slice(at, at + LAYERS_AT_ONCE);
    const found = await Promise.all(few.map(({ digest }) => client.findBlob(reference, digest, signal)));
    const missing = few.find((_, place) => found[place] === undefined);
    if (missing === undefined) continue;
    throw new ServiceError(
      'layer-unavailable',
      detail('layer-undistributed', { host: reference.domain, digest: missing.digest }),
    );
  }
}

function toImage(
  reference: Reference,
  { fetched, manifest, ...described }: Described,
): Omit<ResolvedImage, 'indexDigest' | 'platforms' | 'staleSince'> {
  const { digest, bytes } = fetched;
  return {
    reference,
    manifest: { mediaType: manifest.mediaType, digest, size: bytes.length },
    manifestBytes: bytes,
    config: manifest.config,
    layers: manifest.layers,
    configBytes: described.configBytes,
    configPlatform: described.configPlatform,
    platform: described.platform,
    diffIds: described.diffIds,
  };
}

/** Creates the error for an image that is not available for a platform, with the available ones. */
export function platformNotFound({
  reference,
  wanted,
  seen,
}: Pick<Search, 'reference' | 'wanted' | 'seen'>): ServiceError {
  const platforms = [...seen.keys()].slice(0, PLATFORMS_SHOWN);
  const [image, platform] = [formatReference(reference), formatPlatform(wanted)];
  if (seen.size === 0)
    return new ServiceError('platform-not-found', detail('platforms-missing', { image, platform }), {
      reason: `No image for ${platform}`,
      members: { platforms },
    });
  const available = [...platforms, ...(seen.size > PLATFORMS_SHOWN ? ['…'] : [])].join(', ');
  return new ServiceError(
    'platform-not-found',
    detail('platform-missing', { image, platform, platforms: available }),
    { reason: `Not available for ${platform}; available: ${platforms.join(', ')}`, members: { platforms } },
  );
}
