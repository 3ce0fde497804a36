import { composeArchive } from '../../archive/compose.ts';
import { assumedLayers, spareLayers, withoutLayers } from '../../archive/delta.ts';
import type { ArchiveTree } from '../../archive/entries.ts';
import { FILE_TYPE } from '../../archive/file-names.ts';
import { archiveFilename } from '../../archive/filename.ts';
import {
  ARTIFACT_FORMAT,
  type ArchiveFormat,
  FORMAT_NAMES,
  FORMATS,
  formatsFor,
} from '../../archive/format.ts';
import {
  cutRange,
  type Entry,
  type Layout,
  layoutArchive,
  layoutFile,
  type Piece,
} from '../../archive/layout.ts';
import { verifiedReader } from '../../blobs/verified-reader.ts';
import { ServiceError } from '../../errors.ts';
import type { BlobReader } from '../../oci/blob-reader.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { isZstdLayer } from '../../oci/manifest.ts';
import { type Platform, samePlatform } from '../../oci/platform.ts';
import { isSeveral, type PlatformChoice } from '../../oci/platform-choice.ts';
import { digestReference, formatReference, type Reference } from '../../oci/reference.ts';

import type { RegistryClient } from '../../registry/client.ts';
import { createMemoryCaches, type MemoryCaches } from '../../util/memory-caches.ts';
import { type Documents, parsing } from '../documents.ts';
import type { Archive, ArchiveRequest, ImageSource, OpenedImage, UntaggedImage } from '../image-source.ts';
import { requireSize } from '../require-size.ts';
import type { ImageSignatures } from '../signatures/image-signatures.ts';
import {
  isMissingImage,
  kindOf,
  layFiles,
  otherFormats,
  type ResolvedArtifact,
  requireFiles,
  resolveArtifact,
} from './artifact-resolver.ts';
import type { ManifestSearch } from './content-kind.ts';
import { resolveImage, signableDigests } from './image-resolver.ts';
import { createInlineMemory, type InlineLease, type InlineMemory } from './inline-memory.ts';
import { type ResolvedKnownLayers, resolveKnownLayers, treeKnownLayers } from './known-layers.ts';
import { createReferrerFinder, type FindReferrers } from './referrers.ts';
import { type ResolvedTree, resolveImageTree, resolveTree } from './tree-resolver.ts';

export interface RegistrySourceOptions {
  readonly client: RegistryClient;
  readonly defaultPlatform: Platform;
  /** Bytes of an archive at most. */
  readonly maxSize: number;
  readonly signatures: ImageSignatures;
  /** Milliseconds since some fixed moment. */
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
  const searchCompanions = createReferrerFinder({ client, now, caches, documents });

  const findImages = async (
    request: ArchiveRequest,
    platform: Platform | undefined,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<Found> => {
    const { format, have } = request;
    const { prefersGzip } = FORMATS[format];
    const options = { platform, defaultPlatform, prefersGzip, documents };
    const [images, held] = await withHeld(request, signal, (reference, ended, digestDecides) =>
      resolveImage(counted, reference, { ...options, digestDecides }, ended),
    );
    const isChosen = [...images, ...held].some(({ indexDigest }) => indexDigest !== undefined);
    const signed = await allOrNone(signal, (ended) =>
      images.map((image) => signatures.require(image.reference, signableDigests(image), ended)),
    );
    const names = images.map(({ reference, manifest, config, platform: own }) => ({
      ...{ reference, digest: manifest.digest, config: config.digest },
      platforms: [own],
    }));
    const blobs = blobsOf(
      client,
      images.map((image, at) => ({ ...image, configs: [image.config], isSigned: signed[at] !== undefined })),
    );
    return {
      format,
      images: images.map(({ reference, config, configBytes, layers, diffIds }) => ({
        ...{ reference, config, configBytes, layers, diffIds, blobs },
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
      suffix: unlessDefault(platform),
    };
  };

  const findTrees = async (
    request: ArchiveRequest,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<Found> => {
    const { platform: choice, format } = request;
    const { treeEntries } = FORMATS[format];
    if (treeEntries === undefined) throw new RangeError(`${format} is for one platform`);
    const search = request.referrers === true ? searchCompanions() : undefined;
    const options = { findCompanions: search?.find, documents };
    const resolve = (reference: Reference, ended: AbortSignal, isHeld: boolean): Promise<SignableTree> =>
      isSeveral(choice)
        ? resolveTree(counted, reference, { ...options, platforms: choice }, ended)
        : resolveOne(
            { client: counted, documents, reference, signal: ended },
            { platform: choice, format, digestDecides: isHeld, findCompanions: search?.find },
          );
    const [trees, held] = await withHeld(request, signal, resolve);
    // It is the index that says which images there are, so that a signature of each of them would not do.
    const signed = await allOrNone(signal, (ended) =>
      trees.map(({ reference, upstream, signable = [upstream] }) =>
        signatures.require(reference, signable, ended),
      ),
    );
    const names = trees.map(({ reference, root: { digest }, platforms: stated }) => ({
      ...{ reference, digest, config: undefined },
      platforms: stated,
    }));
    const isChosen = [...trees, ...held].some(({ signable = [] }) => signable.length > 1);
    return {
      format,
      entries: (isTagged) => treeEntries(named(trees, names, isTagged)),
      names,
      layers: trees.map(({ layers }) => layers),
      kept: new Set(trees.flatMap(({ companionLayers }) => companionLayers.map(({ digest }) => digest))),
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
      suffix: isSeveral(choice) ? choice : unlessDefault(choice),
      partialReferrers: search?.isPartial(),
    };
  };

  /** Resolves an image for one platform, or an artifact other than an image with everything below it. */
  const resolveOne = async (
    search: ManifestSearch,
    { platform, format, digestDecides, findCompanions }: OneOptions,
  ): Promise<SignableTree> => {
    const { client: counted, reference, signal } = search;
    const { prefersGzip } = FORMATS[format];
    const options = { platform, defaultPlatform, digestDecides, prefersGzip, documents };
    try {
      const image = await resolveImage(counted, reference, options, signal);
      const tree = await resolveImageTree(counted, image, { findCompanions, documents }, signal);
      return { ...tree, signable: signableDigests(image) };
    } catch (error) {
      if (!isMissingImage(error)) throw error;
      // Any manifest may be sent whole, even an image that no engine loads.
      if ((await kindOf(search)) === 'image') throw error;
      const platforms = platform === undefined ? 'all' : [platform];
      return resolveTree(counted, reference, { platforms, findCompanions, documents }, signal);
    }
  };

  const findFiles = async (
    { references }: ArchiveRequest,
    platform: Platform | undefined,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<Found | undefined> => {
    const resolved = await allOrNone(signal, (ended) =>
      references.map((reference) =>
        resolveArtifact(
          { client: counted, documents, reference, signal: ended },
          { platform, defaultPlatform },
        ),
      ),
    );
    const artifacts = resolved.filter((artifact) => artifact !== undefined);
    if (artifacts.length === 0) return undefined;
    if (artifacts.length < resolved.length) throw mixedContents(references, resolved);
    artifacts.forEach(requireFiles);
    const trees = artifacts.map(({ tree }) => tree);
    const signed = await allOrNone(signal, (ended) =>
      trees.map(({ reference, upstream }) => signatures.require(reference, [upstream], ended)),
    );
    const { files, plainName } = layFiles(artifacts);
    return {
      format: ARTIFACT_FORMAT,
      entries: () => files,
      plainName,
      names: [],
      layers: [],
      kept: new Set(),
      roots: trees.map(({ root, upstream, staleSince }) => ({ digest: root.digest, upstream, staleSince })),
      holdings: undefined,
      held: [],
      platform: artifacts.find((artifact) => artifact.platform !== undefined)?.platform,
      blobs: blobsOf(
        client,
        trees.map((tree, at) => ({ ...tree, isSigned: signed[at] !== undefined })),
      ),
      suffix: unlessDefault(platform),
    };
  };

  const findContents = async (
    request: ArchiveRequest,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<Found> => {
    const { references, platform, format, isFormatOpen, have } = request;
    if (isSeveral(platform) || request.referrers === true) return findTrees(request, counted, signal);
    try {
      return await findImages(request, platform, counted, signal);
    } catch (error) {
      if (!isMissingImage(error)) throw error;
      const { artifacts } = FORMATS[format];
      if (artifacts === 'whole') return findTrees(request, counted, signal);
      const sendsFiles = artifacts === 'files' || (isFormatOpen && have === undefined);
      if (sendsFiles) return (await findFiles(request, platform, counted, signal)) ?? raise(error);
      const kinds = await allOrNone(signal, (ended) =>
        references.map((reference) => kindOf({ client: counted, documents, reference, signal: ended })),
      );
      throw kinds.includes('artifact') ? otherFormats(error) : error;
    }
  };

  const unlessDefault = (platform: Platform | undefined): Platform | undefined =>
    platform === undefined || samePlatform(platform, defaultPlatform) ? undefined : platform;

  const compose = async (
    request: ArchiveRequest,
    lease: InlineLease,
    signal: AbortSignal,
  ): Promise<Archive> => {
    const { references, have } = request;
    const counted = lease.counted(client);
    const found = await findContents(request, counted, signal);
    const { format, entries, plainName, layers, names, roots, holdings, held, platform, blobs } = found;
    const spare =
      holdings === undefined
        ? []
        : spareLayers(layers, holdings, FORMATS[format]).filter(({ digest }) => !found.kept.has(digest));
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
    return {
      filename:
        plainName ??
        archiveFilename({
          ...{ references, format, platform: found.suffix },
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
      images: FORMATS[format].unpacked && found.images,
      read: readerOf(layout, blobs),
    };
  };

  return {
    traits: { formats: FORMAT_NAMES, preparesArchives: false, isReproducible: true },
    async open(request, signal) {
      const lease = inline.begin(signal, request.client);
      try {
        return await compose(request, lease, signal);
      } catch (error) {
        lease.end();
        throw error;
      }
    },
  };
}

/** Created here, because a closure in `open` would keep the parsed manifests and configs in memory. */
function readerOf(layout: Layout, blobs: ArchiveBlobs): Archive['read'] {
  return (range = { start: 0, end: layout.size }, ended, onFetched) =>
    composeArchive(inlined(cutRange(layout, range), blobs.known), blobs, ended, { onFetched });
}

/** Takes the blobs that are known already from memory, so that the first byte waits for a layer and not for a config. */
function inlined(pieces: readonly Piece[], known: ReadonlyMap<Digest, Uint8Array>): readonly Piece[] {
  return pieces.map(({ content, range }) => {
    const bytes = 'digest' in content ? known.get(content.digest) : undefined;
    return { content: bytes ?? content, range };
  });
}

interface ArchiveBlobs extends BlobReader {
  /** The blobs that were read on the way and are kept in memory: configs. */
  readonly known: ReadonlyMap<Digest, Uint8Array>;
}

/** The manifest or index of a reference. */
interface Root {
  readonly digest: Digest;
  /** In its registry, which does not have an index that was made again; where an index is what is signed, that. */
  readonly upstream: Digest;
  readonly staleSince: number | undefined;
}

/** Tells whether the image at this position in the request keeps its tag. */
type IsTagged = (at: number) => boolean;

/** The contents of an archive. */
interface Found {
  readonly images?: readonly OpenedImage[];
  readonly format: ArchiveFormat;
  /** The name of the only file, which is sent without a tar around it. */
  readonly plainName?: string | undefined;
  readonly entries: (isTagged: IsTagged) => readonly Entry[];
  /** The names of each image, with and without its tag. */
  readonly names: readonly UntaggedImage[];
  /** The layers of each image. */
  readonly layers: readonly (readonly Descriptor[])[];
  /** Layers that are never omitted: those of referrers, whose own tags must not move to an incomplete image. */
  readonly kept: ReadonlySet<Digest>;
  /** The root that each reference points to. */
  readonly roots: readonly Root[];
  readonly holdings: ResolvedKnownLayers | undefined;
  /** The current digest of each image of `have` in its registry. */
  readonly held: readonly Digest[];
  /** As in {@link Archive}. */
  readonly platform: Platform | undefined;
  readonly blobs: ArchiveBlobs;
  /** The platforms that the name tells. */
  readonly suffix: PlatformChoice;
  /** As in {@link Archive}. */
  readonly partialReferrers?: boolean | undefined;
}

interface OneOptions extends Pick<ArchiveRequest, 'format'> {
  readonly platform: Platform | undefined;
  /** As in {@link ResolveOptions}. */
  readonly digestDecides: boolean;
  readonly findCompanions: FindReferrers | undefined;
}

/** A tree of an image or an artifact for one platform. */
interface SignableTree extends ResolvedTree {
  /**
   * The digests that a signature can name; undefined for an index with all its platforms, where only the index counts.
   */
  readonly signable?: readonly Digest[];
}

/** Creates the error for a request for images and artifacts at once. */
function mixedContents(
  references: readonly Reference[],
  resolved: readonly (ResolvedArtifact | undefined)[],
): ServiceError {
  const [image] = references.filter((_, at) => resolved[at] === undefined).map(formatReference);
  const [artifact] = references.filter((_, at) => resolved[at] !== undefined).map(formatReference);
  const formats = formatsFor(({ artifacts }) => artifacts === 'whole');
  return new ServiceError(
    'not-an-image',
    `${artifact} is not a container image, but ${image} is one. Request them together with ${formats}, or one after the other.`,
  );
}

function raise(error: unknown): never {
  throw error;
}

/** Replaces tags by digests in images that do not keep their tag. */
function named<T extends { readonly reference: Reference }>(
  images: readonly T[],
  names: readonly UntaggedImage[],
  isTagged: IsTagged,
): T[] {
  return images.map((image, at) => {
    const name = names[at];
    if (name === undefined || isTagged(at)) return image;
    return { ...image, reference: digestReference(image.reference, name.digest) };
  });
}

/** Resolves the requested images and the receiver's images concurrently. */
async function withHeld<T>(
  { references, have }: ArchiveRequest,
  signal: AbortSignal,
  resolve: (reference: Reference, signal: AbortSignal, isHeld: boolean) => Promise<T>,
): Promise<[wanted: T[], held: T[]]> {
  const all = [...references, ...(have?.references ?? [])];
  const resolved = await allOrNone(signal, (ended) =>
    all.map((reference, at) => resolve(reference, ended, at >= references.length)),
  );
  return [resolved.slice(0, references.length), resolved.slice(references.length)];
}

/** The contents of one repository. */
interface Source extends Pick<ArchiveTree, 'reference' | 'configs' | 'layers'> {
  /** The first config, where it is known already. */
  readonly configBytes?: Uint8Array | undefined;
  /** True if nothing but what was signed may leave, which a signature is required for. */
  readonly isSigned: boolean;
}

/** Maximum bytes of a config kept in memory until it is sent. A larger one is read again, from the cache if present. */
const CONFIG_KEPT_MAX = 64 * 1024;

/** Reads each blob from the repository of an image that has it; a config that is known already, from memory. */
function blobsOf(client: RegistryClient, sources: readonly Source[]): ArchiveBlobs {
  const readers = new Map<Digest, BlobReader>();
  const known = new Map<Digest, Uint8Array>();
  // Unsigned repositories come first, so that a layer in both kinds gets the reader that verifies.
  for (const { reference, configs, layers, isSigned } of sources.toSorted(signedLast)) {
    const direct = client.blobs(reference);
    const reader = isSigned ? verifiedReader(direct) : direct;
    for (const { digest } of [...configs, ...layers]) readers.set(digest, reader);
  }
  for (const { configs, configBytes } of sources) {
    const [config] = configs;
    if (config === undefined || configBytes === undefined || configBytes.length > CONFIG_KEPT_MAX) continue;
    known.set(config.digest, configBytes);
  }
  const readerOf = (digest: Digest): BlobReader => {
    const reader = readers.get(digest);
    if (reader === undefined) throw new RangeError(`${digest} is not of this archive`);
    return reader;
  };
  const isStored = [...readers.values()].every(({ readVerified }) => readVerified !== undefined);
  return {
    known,
    read: (blob, ...rest) => readerOf(blob.digest).read(blob, ...rest),
    ...(isStored && {
      readVerified(blob, ...rest) {
        const reader = readerOf(blob.digest);
        return reader.readVerified?.(blob, ...rest) ?? reader.read(blob, ...rest);
      },
    }),
    prefetch: async (blob, approach, signal) => readers.get(blob.digest)?.prefetch?.(blob, approach, signal),
  };
}

function signedLast(one: Source, other: Source): number {
  return Number(one.isSigned) - Number(other.isSigned);
}

function oldest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** Starts several at once; the first failure ends the others. */
async function allOrNone<T>(signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>[]): Promise<T[]> {
  const failed = new AbortController();
  try {
    return await Promise.all(start(AbortSignal.any([signal, failed.signal])));
  } catch (error) {
    failed.abort();
    throw error;
  }
}
