import { buffer } from 'node:stream/consumers';
import type { ArchiveImage } from '../archive/entries.ts';
import { CatalogueError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import {
  type ImageIndex,
  type ImageManifest,
  isForeignLayer,
  isIndexType,
  parseImageConfig,
  parseManifest,
} from '../oci/manifest.ts';
import { formatPlatform, type Platform, type StatedPlatform, selectPlatform } from '../oci/platform.ts';
import { formatReference, type Reference } from '../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../registry/client.ts';

export interface ResolveOptions {
  /** The platform asked for; undefined where the client left it open. */
  readonly platform: Platform | undefined;
  readonly defaultPlatform: Platform;
  /** Whether a digest means its very manifest where a platform is asked for, too: what is there is there. */
  readonly digestDecides?: boolean;
  /** False: no blob is fetched, so that a platform that only a config could tell stays unchecked. */
  readonly mayReadConfig: boolean;
}

export interface ResolvedImage extends ArchiveImage {
  /** The config, where it was read on the way. */
  readonly configBytes: Uint8Array | undefined;
  /** The index that the reference names, where it names one. */
  readonly indexDigest: Digest | undefined;
  /** What it is there for, as far as that was seen: all that the index states, or what the config does. */
  readonly platforms: readonly StatedPlatform[];
  /** As in {@link FetchedManifest}, of the reference. */
  readonly staleSince: number | undefined;
}

/** A manifest that may be the one. */
interface Candidate {
  readonly fetched: FetchedManifest;
  readonly manifest: ImageManifest;
  readonly configBytes?: Uint8Array;
}

/** One way through a reference's indexes. */
interface Search {
  readonly client: RegistryClient;
  readonly reference: Reference;
  readonly wanted: Platform;
  readonly mayReadConfig: boolean;
  readonly signal: AbortSignal;
  /** The platforms seen so far, for the one who asked in vain. */
  readonly seen: Map<string, StatedPlatform>;
  /** How many manifests may still be read. */
  budget: number;
  /** How many bytes they may have together. */
  bytes: number;
}

const CONFIG_LIMIT = 4 * 1024 * 1024;
const MANIFEST_BUDGET = 16;
const MANIFEST_BYTES = 16 * 1024 * 1024;
/** Layers that a registry is asked for at once. */
const LAYERS_AT_ONCE = 8;
/** How many platforms are listed for the one who asked for another. */
const PLATFORMS_SHOWN = 20;

/**
 * Follows a reference to the manifest of one image: through indexes, nested ones too, to the wanted platform.
 *
 * @throws CatalogueError `image-not-found`, `platform-not-found` (listing what there is), `not-an-image`,
 *   `manifest-outdated`, `layer-unavailable`, or what the upstream's trouble is
 */
export async function resolveImage(
  client: RegistryClient,
  reference: Reference,
  { platform, defaultPlatform, digestDecides = false, mayReadConfig }: ResolveOptions,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const wanted = platform ?? defaultPlatform;
  const search: Search = {
    client,
    reference,
    wanted,
    mayReadConfig,
    signal,
    seen: new Map(),
    budget: MANIFEST_BUDGET,
    bytes: MANIFEST_BYTES,
  };
  const fetched = await fetchManifest(search, reference.digest ?? reference.tag ?? 'latest');
  const manifest = parseManifest(fetched.bytes, fetched.contentType);
  // A digest without a platform means this very manifest, whatever it is for.
  const isExact = reference.digest !== undefined && (platform === undefined || digestDecides);
  const found =
    manifest.kind === 'index'
      ? await searchIndex(search, manifest)
      : await (isExact ? { fetched, manifest } : checkConfig(search, { fetched, manifest }));
  if (found === undefined) throw platformNotFound(search);
  await requireForeignLayers(search, found.manifest);
  return {
    ...toImage(reference, found),
    indexDigest: manifest.kind === 'index' ? fetched.digest : undefined,
    platforms: [...search.seen.values()],
    staleSince: fetched.staleSince,
  };
}

/** What a signature of an image may be of: the index that its reference names, and its own manifest. */
export function signableDigests({ indexDigest, manifest }: ResolvedImage): readonly Digest[] {
  return indexDigest === undefined ? [manifest.digest] : [indexDigest, manifest.digest];
}

async function searchIndex(search: Search, index: ImageIndex): Promise<Candidate | undefined> {
  const images = index.manifests.filter(({ mediaType }) => !isIndexType(mediaType));
  for (const { platform } of images) if (platform) search.seen.set(formatPlatform(platform), platform);
  const stated = selectPlatform(search.wanted, images, ({ platform }) => platform);
  if (stated !== undefined) return fetchImage(search, stated);
  for (const entry of index.manifests) {
    const found = await searchEntry(search, entry);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Looks into an entry whose platform the index does not state. */
async function searchEntry(search: Search, entry: Descriptor): Promise<Candidate | undefined> {
  if (isIndexType(entry.mediaType)) {
    const { bytes, contentType } = await fetchManifest(search, entry.digest);
    const nested = parseManifest(bytes, contentType);
    return nested.kind === 'index' ? searchIndex(search, nested) : undefined;
  }
  if (entry.platform !== undefined) return undefined;
  try {
    return await checkConfig(search, await fetchImage(search, entry));
  } catch (error) {
    // A chart or a signature beside the images is not what is looked for.
    if (error instanceof CatalogueError && error.code === 'not-an-image') return undefined;
    throw error;
  }
}

async function fetchManifest(search: Search, target: string): Promise<FetchedManifest> {
  search.budget -= 1;
  const fetched =
    search.budget < 0 ? undefined : await search.client.manifest(search.reference, target, search.signal);
  search.bytes -= fetched?.bytes.length ?? 0;
  if (fetched !== undefined && search.bytes >= 0) return fetched;
  throw new CatalogueError(
    'registry-failed',
    `The index of ${formatReference(search.reference)} is too deep.`,
  );
}

async function fetchImage(search: Search, { digest }: Descriptor): Promise<Candidate> {
  const fetched = await fetchManifest(search, digest);
  const manifest = parseManifest(fetched.bytes, fetched.contentType);
  if (manifest.kind === 'image') return { fetched, manifest };
  throw new CatalogueError(
    'registry-failed',
    `The index of ${formatReference(search.reference)} contradicts itself.`,
  );
}

/** Reads the config of an image. @throws CatalogueError `registry-failed` where it is too large */
export async function readConfig(
  client: RegistryClient,
  reference: Reference,
  config: Descriptor,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (config.size > CONFIG_LIMIT) {
    throw new CatalogueError('registry-failed', `The config of ${formatReference(reference)} is too large.`);
  }
  return buffer(await client.blobs(reference).read(config, undefined, signal));
}

/** Keeps a candidate whose config, the only place that tells, is for the wanted platform. */
async function checkConfig(search: Search, candidate: Candidate): Promise<Candidate | undefined> {
  const { client, reference, wanted, signal, seen } = search;
  const { config, layers } = candidate.manifest;
  if (!search.mayReadConfig) return candidate;
  const configBytes = await readConfig(client, reference, config, signal);
  const { platform, diffIds } = parseImageConfig(configBytes);
  if (diffIds.length !== layers.length) {
    throw new CatalogueError(
      'not-an-image',
      `Manifest and config of ${formatReference(reference)} disagree on its layers.`,
    );
  }
  seen.set(formatPlatform(platform), platform);
  return selectPlatform(wanted, [platform], (stated) => stated) && { ...candidate, configBytes };
}

/** Layers that the registry may lack by intent are looked for before the first byte, while an error can still be told. */
export async function requireForeignLayers(
  { client, reference, signal }: Pick<Search, 'client' | 'reference' | 'signal'>,
  { layers }: Pick<ImageManifest, 'layers'>,
): Promise<void> {
  const foreign = layers.filter((layer) => isForeignLayer(layer) && !layer.urls?.length);
  const each = [...new Map(foreign.map((layer) => [layer.digest, layer])).values()];
  for (let at = 0; at < each.length; at += LAYERS_AT_ONCE) {
    const few = each.slice(at, at + LAYERS_AT_ONCE);
    const isThere = await Promise.all(few.map((layer) => client.hasBlob(reference, layer, signal)));
    const missing = few.find((_, place) => !isThere[place]);
    if (missing === undefined) continue;
    throw new CatalogueError(
      'layer-unavailable',
      `${reference.domain} does not distribute the layer ${missing.digest}.`,
    );
  }
}

function toImage(
  reference: Reference,
  { fetched, manifest, configBytes }: Candidate,
): Omit<ResolvedImage, 'indexDigest' | 'platforms' | 'staleSince'> {
  const { digest, bytes } = fetched;
  return {
    reference,
    manifest: { mediaType: manifest.mediaType, digest, size: bytes.length },
    manifestBytes: bytes,
    config: manifest.config,
    layers: manifest.layers,
    configBytes,
  };
}

/** The error of an image that is not there for a platform, with those that it is there for. */
export function platformNotFound({
  reference,
  wanted,
  seen,
}: Pick<Search, 'reference' | 'wanted' | 'seen'>): CatalogueError {
  const platforms = [...seen.keys()].slice(0, PLATFORMS_SHOWN);
  const more = seen.size > PLATFORMS_SHOWN ? ` and ${seen.size - PLATFORMS_SHOWN} more` : '';
  const there = seen.size === 0 ? 'no image at all' : `${platforms.join(', ')}${more}`;
  return new CatalogueError(
    'platform-not-found',
    `${formatReference(reference)} is not there for ${formatPlatform(wanted)}; there is ${there}.`,
    { reason: `No ${formatPlatform(wanted)}; there is ${there}`, members: { platforms } },
  );
}
