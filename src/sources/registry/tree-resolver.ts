import type { ArchiveTree, Companion, StoredManifest } from '../../archive/entries.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { ANNOTATIONS, isImageEntry, isKeptEntry } from '../../oci/manifest.ts';
import { formatPlatform, type Platforms, type StatedPlatform, selectPlatform } from '../../oci/platform.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../../registry/client.ts';
import { type Documents, parsing, type Served } from '../documents.ts';
import { contentKind, type ManifestSearch } from './content-kind.ts';
import {
  platformNotFound,
  type ResolvedImage,
  readConfig,
  requireForeignLayers,
  signableDigests,
} from './image-resolver.ts';
import type { FindReferrers, Referrer } from './referrers.ts';

export interface ResolvedTree extends ArchiveTree {
  /** The digest of the reference in its registry, where `root` may be a rebuilt index. */
  readonly upstream: Digest;
  /** The distinct platforms of its images, from its indexes or from the config of a single image. */
  readonly platforms: readonly StatedPlatform[];
  /** The layers of `companions`. Their tags don't tell which layers a receiver has. */
  readonly referrerLayers: readonly Descriptor[];
  /** As in {@link FetchedManifest}, of the reference. */
  readonly staleSince: number | undefined;
}

export interface TreeOptions {
  readonly platforms: Platforms;
  /** Finds the referrers of the index and its images, such as signatures, to include them. */
  readonly findReferrers?: FindReferrers | undefined;
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
/** The platform of attestations, by which engines skip them. */
const UNKNOWN_PLATFORM: StatedPlatform = { os: 'unknown', architecture: 'unknown' };

/**
 * Resolves a reference with everything below it, for all platforms or for some. For all, the bytes are those of the
 * registry. For some, the index is rewritten, and names only these and their attestations. Artifacts other than images
 * have no platforms to choose from.
 *
 * @throws ServiceError as {@link resolveImage} does
 */
export async function resolveTree(
  client: RegistryClient,
  reference: Reference,
  { platforms, findReferrers, documents = parsing }: TreeOptions,
  signal: AbortSignal,
): Promise<ResolvedTree> {
  const target = reference.digest ?? reference.tag ?? 'latest';
  const fetched = await client.manifest(reference, target, signal);
  const collected = createCollection({ client, documents, reference, signal });
  const links = documents.links(fetched);
  const platform =
    links.kind === 'manifest'
      ? await requirePlatforms(fetched, links.config, platforms === 'all' ? [] : platforms)
      : undefined;
  const isFiltered = platforms !== 'all' && links.kind === 'index';
  await collected.add(
    isFiltered ? chosen(reference, fetched, links.manifests, platforms, documents) : fetched,
  );
  const images = collected.imageDigests();
  // A referrer may be an index, whose platforms are not those of the image.
  const stated = [...seenOf(collected.stated).values()];
  const ownPlatforms = links.kind === 'index' ? stated : [platform ?? []].flat();
  const search = findReferrers?.(reference, [fetched.digest, ...images], signal);
  const companions = await collected.addReferrers(search);
  return {
    ...collected.tree(companions),
    ...{ platform, upstream: fetched.digest, platforms: ownPlatforms, staleSince: fetched.staleSince },
  };

  /**
   * Reads the config of a single image for its platform. Its config also shows whether it is an image, if its media type
   * leaves that open.
   */
  async function requirePlatforms(
    served: Served,
    config: Descriptor,
    wanted: Exclude<Platforms, 'all'>,
  ): Promise<StatedPlatform | undefined> {
    const search = { client, documents, reference, signal };
    if ((await contentKind(search, served)) !== 'image') return undefined;
    const bytes = await readConfig(client, reference, config, signal);
    const { platform } = documents.config(config.digest, bytes);
    for (const one of wanted) {
      if (selectPlatform(one, [platform], (stated) => stated) === undefined)
        throw platformNotFound({ reference, wanted: one, seen: seenOf([platform]) });
    }
    return platform;
  }
}

/**
 * Adds to an image the referrers of it and of its index, and its attestations from that index.
 *
 * @throws ServiceError as {@link resolveImage} does
 */
export async function resolveImageTree(
  client: RegistryClient,
  image: ResolvedImage,
  { findReferrers, documents = parsing }: Omit<TreeOptions, 'platforms'>,
  signal: AbortSignal,
): Promise<ResolvedTree> {
  const { reference, manifest, manifestBytes: bytes, indexDigest, staleSince } = image;
  const collected = createCollection({ client, documents, reference, signal });
  await collected.add({ bytes, digest: manifest.digest, contentType: manifest.mediaType });
  const found = await collected.addReferrers(findReferrers?.(reference, signableDigests(image), signal));
  const attestations: Companion[] = [];
  if (findReferrers !== undefined && indexDigest !== undefined) {
    const index = documents.links(await client.manifest(reference, indexDigest, signal));
    const entries = index.kind === 'index' ? index.manifests : [];
    for (const { digest, annotations } of entries) {
      if (annotations?.[ANNOTATIONS.referenceDigest] !== manifest.digest) continue;
      const root = await collected.addOnce(await client.manifest(reference, digest, signal));
      attestations.push({ tag: undefined, root: { ...root, platform: UNKNOWN_PLATFORM }, annotations });
    }
  }
  return {
    ...collected.tree([...found, ...attestations]),
    ...{ platform: image.configPlatform, upstream: manifest.digest, platforms: [image.platform], staleSince },
  };
}

/** The manifests, configs, and layers of a tree, in the order of its archive. */
interface Collection {
  /** Adds a manifest, or an index with everything below it. */
  add(found: Served): Promise<void>;
  /** Adds a manifest or index, unless it was added before, and returns its descriptor. */
  addOnce(found: Served): Promise<Descriptor>;
  /** Adds referrers. */
  addReferrers(search: AsyncIterable<Referrer> | undefined): Promise<Companion[]>;
  /** Lists the manifests below the root, without attestations. */
  imageDigests(): Digest[];
  /** The platforms that indexes state. */
  readonly stated: readonly StatedPlatform[];
  tree(companions: readonly Companion[]): Omit<ResolvedTree, 'upstream' | 'platforms' | 'staleSince'>;
}

function createCollection(search: ManifestSearch): Collection {
  const { client, documents, reference, signal } = search;
  const manifests: StoredManifest[] = [];
  const configs: Descriptor[] = [];
  const layers: Descriptor[] = [];
  const attests = new Set<Digest>();
  const stated: StatedPlatform[] = [];
  const seen = new Set<Digest>();
  /** The number of layers without those of referrers. */
  let own: number | undefined;

  const add = async (found: Served): Promise<void> => {
    const links = documents.links(found);
    if (manifests.length >= MANIFESTS_MAX) throw tooLarge(reference);
    const { digest, bytes } = found;
    manifests.push({ descriptor: { mediaType: links.mediaType, digest, size: bytes.length }, bytes });
    if (links.kind === 'index') return descend(links.manifests);
    await client.checkSizes(reference, [links.config, ...links.layers], signal);
    await requireForeignLayers(search, links);
    configs.push(links.config);
    layers.push(...links.layers);
  };
  const descend = async (entries: readonly Descriptor[]): Promise<void> => {
    for (const entry of entries) if (!isImageEntry(entry)) attests.add(entry.digest);
    stated.push(...entries.filter(isImageEntry).flatMap(({ platform }) => platform ?? []));
    const fresh = entries.filter(({ digest }) => !seen.has(digest) && seen.add(digest));
    if (manifests.length + fresh.length > MANIFESTS_MAX) throw tooLarge(reference);
    for (let at = 0; at < fresh.length; at += AT_ONCE) {
      const batch = fresh.slice(at, at + AT_ONCE);
      const found = await Promise.all(batch.map(({ digest }) => client.manifest(reference, digest, signal)));
      // One at a time, so that the files have the order of the index.
      for (const one of found) await add(one);
    }
  };
  const addOnce = async (found: Served): Promise<Descriptor> => {
    own ??= layers.length;
    const at = manifests.length;
    if (!seen.has(found.digest)) {
      seen.add(found.digest);
      await add(found);
    }
    const stored = manifests[at] ?? manifests.find(({ descriptor }) => descriptor.digest === found.digest);
    if (stored === undefined) throw new RangeError('A seen manifest is stored');
    return stored.descriptor;
  };

  return {
    add,
    addOnce,
    stated,
    async addReferrers(referrers) {
      const companions: Companion[] = [];
      for await (const { tag, found } of referrers ?? []) {
        companions.push({ tag, root: await addOnce(found) });
      }
      return companions;
    },
    imageDigests: () =>
      manifests
        .slice(1)
        .map(({ descriptor }) => descriptor.digest)
        .filter((digest) => !attests.has(digest)),
    tree(companions) {
      const [root, ...others] = manifests;
      if (root === undefined) throw new RangeError('A tree has a root');
      return {
        ...{ reference, root: root.descriptor, manifests: [root, ...others], configs, layers, companions },
        referrerLayers: layers.slice(own ?? layers.length),
      };
    },
  };
}

/** Rewrites the index with the images for some platforms and their attestations. */
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
    detail('index-large', { image: formatReference(reference), limit: MANIFESTS_MAX }),
  );
}

function seenOf(platforms: readonly StatedPlatform[]): Map<string, StatedPlatform> {
  return new Map(platforms.map((platform) => [formatPlatform(platform), platform]));
}
