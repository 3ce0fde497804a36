import type { ArchiveTree, StoredManifest } from '../../archive/entries.ts';
import { ServiceError } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { isImageEntry, isKeptEntry } from '../../oci/manifest.ts';
import { formatPlatform, type Platforms, type StatedPlatform, selectPlatform } from '../../oci/platform.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../../registry/client.ts';
import { type Documents, parsing, type Served } from '../documents.ts';
import { platformNotFound, readConfig, requireForeignLayers } from './image-resolver.ts';
import type { FindReferrers } from './referrers.ts';

export interface ResolvedTree extends ArchiveTree {
  /** What the reference points at in its registry, where `root` may be an index made again. */
  readonly upstream: Digest;
  /** The distinct platforms of its images, from its indexes or from the config of a single image. */
  readonly platforms: readonly StatedPlatform[];
  /** The layers of `companions`. Their tags don't tell which layers a receiver has. */
  readonly companionLayers: readonly Descriptor[];
  /** As in {@link FetchedManifest}, of the reference. */
  readonly staleSince: number | undefined;
}

export interface TreeOptions {
  readonly platforms: Platforms;
  /** Looks for what refers to the index and its images, such as signatures, which then comes with them. */
  readonly findCompanions?: FindReferrers | undefined;
  /** Parses manifests and configs. */
  readonly documents?: Documents;
}

/**
 * Maximum manifests below an index. Real indexes have some dozens: one for each platform, each with an attestation. This
 * limit is not part of the request's budget, because it refuses an index before any of its manifests is requested.
 */
const MANIFESTS_MAX = 200;
/** Maximum manifests that are requested at once. */
const AT_ONCE = 4;

/**
 * Follows a reference to all that is below it, for all platforms or for some. All of them are what the registry serves,
 * byte for byte; of some, the index is written again, and names these and their attestations alone.
 *
 * @throws ServiceError as {@link resolveImage} does
 */
export async function resolveTree(
  client: RegistryClient,
  reference: Reference,
  { platforms, findCompanions, documents = parsing }: TreeOptions,
  signal: AbortSignal,
): Promise<ResolvedTree> {
  const target = reference.digest ?? reference.tag ?? 'latest';
  const fetched = await client.manifest(reference, target, signal);
  // Refuse charts and other artifacts, which have no archive. Below an index, artifacts belong to its images.
  documents.manifest(fetched);
  const links = documents.links(fetched);
  const manifests: StoredManifest[] = [];
  const configs: Descriptor[] = [];
  const layers: Descriptor[] = [];
  const attests = new Set<Digest>();
  const stated: StatedPlatform[] = [];
  const seen = new Set<Digest>();

  const add = async (found: Served): Promise<void> => {
    const own = documents.links(found);
    if (manifests.length >= MANIFESTS_MAX) throw tooLarge(reference);
    const { digest } = found;
    manifests.push({
      descriptor: { mediaType: own.mediaType, digest, size: found.bytes.length },
      bytes: found.bytes,
    });
    if (own.kind === 'index') return descend(own.manifests);
    await client.checkSizes(reference, [own.config, ...own.layers], signal);
    await requireForeignLayers({ client, reference, signal }, own);
    configs.push(own.config);
    layers.push(...own.layers);
  };
  const descend = async (entries: readonly Descriptor[]): Promise<void> => {
    for (const entry of entries) if (!isImageEntry(entry)) attests.add(entry.digest);
    stated.push(...entries.filter(isImageEntry).flatMap(({ platform }) => platform ?? []));
    const fresh = entries.filter(({ digest }) => !seen.has(digest) && seen.add(digest));
    if (manifests.length + fresh.length > MANIFESTS_MAX) throw tooLarge(reference);
    for (let at = 0; at < fresh.length; at += AT_ONCE) {
      const batch = fresh.slice(at, at + AT_ONCE);
      const found = await Promise.all(batch.map(({ digest }) => client.manifest(reference, digest, signal)));
      // One after the other: the order of the files is that of the index.
      for (const one of found) await add(one);
    }
  };

  const platform =
    links.kind === 'manifest'
      ? await requirePlatforms(links.config, platforms === 'all' ? [] : platforms)
      : undefined;
  const isFiltered = platforms !== 'all' && links.kind === 'index';
  await add(isFiltered ? chosen(reference, fetched, links.manifests, platforms, documents) : fetched);
  const images = manifests
    .slice(1)
    .map(({ descriptor }) => descriptor.digest)
    .filter((digest) => !attests.has(digest));
  // A referrer may be an index, whose platforms are not those of the image.
  const ownPlatforms = platform === undefined ? [...seenOf(stated).values()] : [platform];
  const companions: { tag: string; root: Descriptor }[] = [];
  const ofImages = layers.length;
  for await (const { tag, found } of findCompanions?.(reference, [fetched.digest, ...images], signal) ?? []) {
    const at = manifests.length;
    if (!seen.has(found.digest)) {
      seen.add(found.digest);
      await add(found);
    }
    const stored = manifests[at] ?? manifests.find(({ descriptor }) => descriptor.digest === found.digest);
    if (stored !== undefined) companions.push({ tag, root: stored.descriptor });
  }
  const [root, ...others] = manifests;
  if (root === undefined) throw new RangeError('A tree has a root');
  return {
    reference,
    root: root.descriptor,
    platform,
    manifests: [root, ...others],
    configs,
    layers,
    companions,
    companionLayers: layers.slice(ofImages),
    upstream: fetched.digest,
    platforms: ownPlatforms,
    staleSince: fetched.staleSince,
  };

  /**
   * Reads the config of a single image for its platform, and to check that it is an image if its media type leaves that
   * open.
   */
  async function requirePlatforms(
    config: Descriptor,
    wanted: Exclude<Platforms, 'all'>,
  ): Promise<StatedPlatform> {
    const bytes = await readConfig(client, reference, config, signal);
    const { platform } = documents.config(config.digest, bytes);
    for (const one of wanted) {
      if (selectPlatform(one, [platform], (stated) => stated) === undefined)
        throw platformNotFound({ reference, wanted: one, seen: seenOf([platform]) });
    }
    return platform;
  }
}

/** The index with the images for some platforms, and what attests these. */
function chosen(
  reference: Reference,
  index: FetchedManifest,
  entries: readonly Descriptor[],
  platforms: Exclude<Platforms, 'all'>,
  documents: Documents,
): Served {
  const images = entries.filter(isImageEntry);
  const kept = new Set<string>();
  for (const wanted of platforms) {
    const found = selectPlatform(wanted, images, ({ platform }) => platform);
    if (found === undefined) {
      const seen = seenOf(images.flatMap(({ platform }) => platform ?? []));
      throw platformNotFound({ reference, wanted, seen });
    }
    kept.add(found.digest);
  }
  return entries.every((entry) => isKeptEntry(entry, kept)) ? index : documents.filtered(index, kept);
}

function tooLarge(reference: Reference): ServiceError {
  return new ServiceError(
    'registry-failed',
    `The index of ${formatReference(reference)} has more than ${MANIFESTS_MAX} manifests.`,
  );
}

function seenOf(platforms: readonly StatedPlatform[]): Map<string, StatedPlatform> {
  return new Map(platforms.map((platform) => [formatPlatform(platform), platform]));
}
