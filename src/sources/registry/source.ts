import { archiveFilename } from '../../archive/archive-name.ts';
import { FILE_TYPE } from '../../archive/artifact-file-names.ts';
import { assumedLayers, layersToOmit, withoutLayers } from '../../archive/delta.ts';
import { FORMAT_NAMES, FORMATS } from '../../archive/format.ts';
import { type Layout, layoutArchive, layoutFile } from '../../archive/layout.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { isZstdLayer } from '../../oci/manifest.ts';
import type { Platform } from '../../oci/platform.ts';
import { isSeveral } from '../../oci/platform-choice.ts';
import { digestReference, type Reference } from '../../oci/reference.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { allOrNone } from '../../util/all-or-none.ts';
import { createMemoryCaches, type MemoryCaches } from '../../util/memory-caches.ts';
import { type Documents, parsing } from '../documents.ts';
import type { Archive, ArchiveRequest, ImageSource, PlacedLayer, UntaggedImage } from '../image-source.ts';
import { platformFor, statedPlatforms } from '../own-platforms.ts';
import { requireSize } from '../require-size.ts';
import type { ImageSignatures } from '../signatures/image-signatures.ts';
import { archiveReader, blobOpener, blobsOf } from './archive-blobs.ts';
import { createArtifactFiles } from './artifact-files.ts';
import { isMissingImage, kindOf, otherFormats } from './artifact-resolver.ts';
import {
  type ComposedArchive,
  checksOf,
  fetchRoots,
  isRepeatable,
  keyOf,
  openComposedArchives,
  withRoots,
} from './composed-archives.ts';
import type { ManifestSearch } from './content-kind.ts';
import type { FoundContents, IsTagged } from './found-contents.ts';
import { resolveImage, signableDigests } from './image-resolver.ts';
import { createInlineMemory, type InlineLease, type InlineMemory } from './inline-memory.ts';
import { resolveKnownLayers, treeKnownLayers } from './known-layers.ts';
import { createReferrerFinder, type FindReferrers } from './referrers.ts';
import { type ResolvedTree, resolveImageTree, resolveTree } from './tree-resolver.ts';

export interface RegistrySourceOptions {
  readonly client: RegistryClient;
  readonly defaultPlatform: Platform;
  /** Maximum bytes of an archive. */
  readonly maxSize: number;
  readonly signatures: ImageSignatures;
  /** A monotonic clock, in milliseconds. */
  readonly now: () => number;
  /** The list to which its caches are added. */
  readonly caches?: MemoryCaches;
  /** The memory budget. */
  readonly inline?: InlineMemory;
  /** Parses manifests and configs. */
  readonly documents?: Documents;
}

/** Composes archives from registry blobs as they are: no daemon, nothing staged. */
export function createRegistrySource({
  client,
  defaultPlatform,
  maxSize,
  signatures,
  now,
  caches = createMemoryCaches(now),
  inline = createInlineMemory(caches),
  documents = parsing,
}: RegistrySourceOptions): ImageSource<Archive> {
  const searchReferrers = createReferrerFinder({ client, now, caches, documents });
  const composed = openComposedArchives(caches);
  const findFiles = createArtifactFiles({ client, defaultPlatform, signatures, documents });

  const findImages = async (
    request: ArchiveRequest,
    platform: Platform | undefined,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<FoundContents> => {
    const { format, have, ownPlatforms } = request;
    const { prefersGzip } = FORMATS[format];
    const options = { defaultPlatform, prefersGzip, documents };
    const [images, held] = await withHeld(request, signal, (reference, ended, digestDecides) => {
      const own = platformFor({ platform, ownPlatforms }, reference);
      return resolveImage(counted, reference, { ...options, platform: own, digestDecides }, ended);
    });
    const isChosen = [...images, ...held].some(({ indexDigest }) => indexDigest !== undefined);
    const signed = await allOrNone(
      images,
      (image, ended) => signatures.require(image.reference, signableDigests(image), ended),
      signal,
    );
    const names = images.map(({ reference, manifest, config, platform: own }) => ({
      ...{ reference: request.name ?? reference, digest: manifest.digest, config: config.digest },
      platforms: [own],
    }));
    const repositories = images.map(({ reference, config, configBytes, layers }, at) => ({
      ...{ reference, configBytes, layers, configs: [config], isSigned: signed[at] !== undefined },
    }));
    const blobs = blobsOf(client, repositories);
    return {
      format,
      images: images.map(({ reference, config, configBytes, layers, diffIds }) => ({
        ...{ reference: request.name ?? reference, config, configBytes, layers, diffIds, blobs },
      })),
      entries: (isTagged) => FORMATS[format].entries(named(images, names, isTagged)),
      names,
      layers: images.map(({ layers }) => layers),
      kept: new Set(),
      roots: images.map(({ manifest: { digest }, staleSince }, at) => ({
        ...{ digest, staleSince },
        upstream: signed[at] ?? digest,
      })),
      holdings: have && resolveKnownLayers(images, have, held),
      held: held.map(({ manifest: { digest } }) => digest),
      platform: isChosen ? (platform ?? defaultPlatform) : undefined,
      blobs,
      suffix: statedPlatforms(request, defaultPlatform),
      stillHolds: checksOf(images, signatures, signed),
      openBlobs: blobOpener(client, repositories),
    };
  };

  const findTrees = async (
    request: ArchiveRequest,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<FoundContents> => {
    const { platform: choice, format, ownPlatforms } = request;
    const { treeEntries } = FORMATS[format];
    if (treeEntries === undefined) throw new RangeError(`${format} is for one platform`);
    const search = request.referrers === true ? searchReferrers() : undefined;
    const options = { findReferrers: search?.find, documents };
    const resolve = (reference: Reference, ended: AbortSignal, isHeld: boolean): Promise<SignableTree> =>
      isSeveral(choice)
        ? resolveTree(counted, reference, { ...options, platforms: choice }, ended)
        : resolveOne(
            { client: counted, documents, reference, signal: ended },
            {
              ...{ platform: platformFor({ platform: choice, ownPlatforms }, reference), format },
              ...{ digestDecides: isHeld, findReferrers: search?.find },
            },
          );
    const [trees, held] = await withHeld(request, signal, resolve);
    // Only a signature of the index covers the list of images; signatures of all images would not.
    const signed = await allOrNone(
      trees,
      ({ reference, upstream, signable = [upstream] }, ended) =>
        signatures.require(reference, signable, ended),
      signal,
    );
    const names = trees.map(({ reference, root: { digest }, platforms: stated }) => ({
      ...{ reference: request.name ?? reference, digest, config: undefined },
      platforms: stated,
    }));
    const isChosen = [...trees, ...held].some(({ signable = [] }) => signable.length > 1);
    return {
      format,
      entries: (isTagged) => treeEntries(named(trees, names, isTagged)),
      names,
      layers: trees.map(({ layers }) => layers),
      kept: new Set(trees.flatMap(({ referrerLayers }) => referrerLayers.map(({ digest }) => digest))),
      roots: trees.map(({ root, upstream, signable, staleSince }, at) => ({
        ...{ digest: root.digest, staleSince },
        upstream: signable === undefined ? upstream : (signed[at] ?? upstream),
      })),
      holdings: request.have && treeKnownLayers(trees, request.have, held),
      held: held.map(({ upstream }) => upstream),
      platform: isSeveral(choice) || !isChosen ? undefined : (choice ?? defaultPlatform),
      blobs: blobsOf(
        client,
        trees.map((tree, at) => ({ ...tree, isSigned: signed[at] !== undefined })),
      ),
      suffix: statedPlatforms(request, defaultPlatform),
      partialReferrers: search?.isPartial(),
    };
  };

  /** Resolves an image for one platform, or an artifact other than an image with everything below it. */
  const resolveOne = async (
    search: ManifestSearch,
    { platform, format, digestDecides, findReferrers }: OneOptions,
  ): Promise<SignableTree> => {
    const { client: counted, reference, signal } = search;
    const { prefersGzip } = FORMATS[format];
    const options = { platform, defaultPlatform, digestDecides, prefersGzip, documents };
    try {
      const image = await resolveImage(counted, reference, options, signal);
      const tree = await resolveImageTree(counted, image, { findReferrers, documents }, signal);
      return { ...tree, signable: signableDigests(image) };
    } catch (error) {
      if (!isMissingImage(error)) throw error;
      // Any manifest may be sent whole, even an image that no engine loads.
      if ((await kindOf(search)) === 'image') throw error;
      const platforms = platform === undefined ? 'all' : [platform];
      return resolveTree(counted, reference, { platforms, findReferrers, documents }, signal);
    }
  };

  const findContents = async (
    request: ArchiveRequest,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<FoundContents> => {
    const { references, platform, format, isFormatOpen, have, name } = request;
    if (isSeveral(platform) || request.referrers === true) return findTrees(request, counted, signal);
    try {
      return await findImages(request, platform, counted, signal);
    } catch (error) {
      if (!isMissingImage(error)) throw error;
      const { artifacts } = FORMATS[format];
      if (artifacts === 'whole') return findTrees(request, counted, signal);
      const sendsFiles = artifacts === 'files' || (isFormatOpen && have === undefined && name === undefined);
      if (sendsFiles) return (await findFiles(request, platform, counted, signal)) ?? raise(error);
      const kinds = await allOrNone(
        references,
        (reference, ended) => kindOf({ client: counted, documents, reference, signal: ended }),
        signal,
      );
      throw kinds.includes('artifact') ? otherFormats(error) : error;
    }
  };

  const findArchive = async (
    request: ArchiveRequest,
    lease: InlineLease,
    signal: AbortSignal,
  ): Promise<Archive> => {
    const counted = lease.counted(client);
    const { references } = request;
    const roots = isRepeatable(request) ? await fetchRoots(counted, references, signal) : undefined;
    if (roots === undefined) return (await compose(request, counted, lease, signal)).archive;
    const key = keyOf(request, roots);
    const known = composed.get(key);
    if (known !== undefined && (await known.stillHolds(counted, signal))) {
      lease.share(known.layout);
      return {
        ...known.archive,
        staleSince: oldest(roots.map(({ staleSince }) => staleSince)),
        read: archiveReader(known.layout, known.openBlobs()),
      };
    }
    const made = await compose(request, withRoots(counted, references, roots), lease, signal);
    const { stillHolds, openBlobs } = made;
    if (stillHolds !== undefined && openBlobs !== undefined)
      composed.set(key, { ...made, stillHolds, openBlobs });
    return made.archive;
  };

  const compose = async (
    request: ArchiveRequest,
    counted: RegistryClient,
    lease: InlineLease,
    signal: AbortSignal,
  ): Promise<
    { archive: Archive } & Pick<ComposedArchive, 'layout'> & Pick<FoundContents, 'stillHolds' | 'openBlobs'>
  > => {
    const { references, have, squash, name } = request;
    const found = await findContents(request, counted, signal);
    const { format, entries, plainName, layers, names, roots, holdings, held, platform, blobs } = found;
    const spare =
      holdings === undefined
        ? []
        : layersToOmit(layers, holdings, FORMATS[format]).filter(({ digest }) => !found.kept.has(digest));
    const assumed =
      holdings === undefined ? undefined : assumedLayers(layers, spare, holdings, FORMATS[format]);
    const isTagged: IsTagged = (at) => !layers[at]?.some(({ digest }) => assumed?.has(digest));
    const layout = lease.keep(
      withoutLayers(entries(isTagged), spare),
      plainName === undefined ? layoutArchive : layoutFile,
    );
    const fullSize = holdings === undefined ? layout.size : layoutArchive(entries(() => true)).size;
    const untagged = names.filter(({ reference }, at) => reference.tag !== undefined && !isTagged(at));
    requireSize(layout.size, maxSize);
    const archive: Archive = {
      filename:
        plainName ??
        archiveFilename({
          ...{ references, name, format, squash, platform: found.suffix },
          base: spare.length === 0 ? undefined : have,
        }),
      contentType: plainName === undefined ? undefined : FILE_TYPE,
      size: layout.size,
      etag: layout.etag,
      digests: roots.map(({ digest }) => digest),
      upstream: roots.map(({ upstream }) => upstream),
      platform,
      staleSince: oldest(roots.map(({ staleSince }) => staleSince)),
      partialReferrers: found.partialReferrers,
      omitted: holdings && { layers: spare, fullSize, held, unknown: holdings.unknown, untagged },
      zstd: layers.flat().some(isZstdLayer),
      layers: placedLayers(layout, layers.flat()),
      images: FORMATS[format].unpacked && found.images,
      read: archiveReader(layout, blobs),
    };
    return { archive, layout, stillHolds: found.stillHolds, openBlobs: found.openBlobs };
  };

  return {
    traits: { formats: FORMAT_NAMES, preparesArchives: false, isReproducible: true },
    async open(request, signal) {
      const lease = inline.begin(signal, request.client);
      try {
        return await findArchive(request, lease, signal);
      } catch (error) {
        lease.end();
        throw error;
      }
    },
  };
}

interface OneOptions extends Pick<ArchiveRequest, 'format'> {
  readonly platform: Platform | undefined;
  /** As in {@link ResolveOptions}. */
  readonly digestDecides: boolean;
  readonly findReferrers: FindReferrers | undefined;
}

/** A tree of an image or an artifact for one platform. */
interface SignableTree extends ResolvedTree {
  /**
   * The digests that a signature can name; undefined for an index with all its platforms, where only the index counts.
   */
  readonly signable?: readonly Digest[];
}

function raise(error: unknown): never {
  throw error;
}

/** Lists the layers that a file contains unchanged, with their offsets. */
function placedLayers({ slices }: Layout, layers: readonly Descriptor[]): PlacedLayer[] {
  const digests = new Set(layers.map(({ digest }) => digest));
  return slices.flatMap(({ offset, content }) => {
    if (!('digest' in content) || !digests.has(content.digest)) return [];
    const { digest, size } = content;
    return [{ offset, digest, size }];
  });
}

/** Gives images their names in the archive: by digest if they do not keep their tag. */
function named<T extends { readonly reference: Reference }>(
  images: readonly T[],
  names: readonly UntaggedImage[],
  isTagged: IsTagged,
): T[] {
  return images.map((image, at) => {
    const name = names[at];
    if (name === undefined) return image;
    const { reference, digest } = name;
    return { ...image, reference: isTagged(at) ? reference : digestReference(reference, digest) };
  });
}

/** Resolves the requested images and the receiver's images concurrently. */
async function withHeld<T>(
  { references, have }: ArchiveRequest,
  signal: AbortSignal,
  resolve: (reference: Reference, signal: AbortSignal, isHeld: boolean) => Promise<T>,
): Promise<[wanted: T[], held: T[]]> {
  const all = [...references, ...(have?.references ?? [])];
  const resolved = await allOrNone(
    all,
    (reference, ended, at) => resolve(reference, ended, at >= references.length),
    signal,
  );
  return [resolved.slice(0, references.length), resolved.slice(references.length)];
}

function oldest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
