import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, splitDigest } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import type { StatedPlatform } from '../oci/platform.ts';
import type { Reference } from '../oci/reference.ts';
import type { Entry } from './layout.ts';
import { ociManifest } from './oci-manifest.ts';

/** An image as an archive holds it. */
export interface ArchiveImage {
  readonly reference: Reference;
  /** Points at `manifestBytes`. */
  readonly manifest: Descriptor;
  /** The manifest byte for byte as the registry served it. */
  readonly manifestBytes: Uint8Array;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  /**
   * The platform from the config alone, so that the archive does not depend on the index through which it was found.
   */
  readonly configPlatform: StatedPlatform;
}

/** A manifest with its bytes, as an archive holds it. */
export interface StoredManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** All manifests, configs, layers, and referrers of one image, artifact, or index. */
export interface ArchiveTree {
  readonly reference: Reference;
  /** Points at the first of `manifests`. */
  readonly root: Descriptor;
  /** The platform of the root, if the root is an image. */
  readonly platform?: StatedPlatform | undefined;
  readonly manifests: readonly [StoredManifest, ...StoredManifest[]];
  readonly configs: readonly Descriptor[];
  readonly layers: readonly Descriptor[];
  /** The referrers in the archive, such as signatures. */
  readonly companions?: readonly Companion[];
}

/** A referrer beside an image, as index.json lists it. */
export interface Companion {
  /** The tag that identifies it in any registry; undefined for an attestation, which only annotations connect. */
  readonly tag: string | undefined;
  readonly root: Descriptor;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/**
 * Lists the files of an OCI image layout with Docker's manifest.json: metadata first, so that a client fails early, then
 * each blob once.
 *
 * @throws ServiceError `content-mismatch` if two descriptors disagree on the size of one blob
 * @see https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format
 */
export function dockerEntries(images: readonly ArchiveImage[]): Entry[] {
  const trees = images.map((image) => treeOf(image, listedManifest(image)));
  return [
    ...layoutEntries(trees),
    { path: 'manifest.json', content: json(images.map(dockerManifest)) },
    ...blobEntries(trees),
  ];
}

/** Lists the files of an OCI image layout of images. @throws ServiceError as {@link dockerEntries} does */
export function ociEntries(images: readonly ArchiveImage[]): Entry[] {
  return treeEntries(images.map((image) => treeOf(image, storedManifest(image))));
}

/**
 * Lists the files of an OCI image layout of whole trees.
 *
 * @throws ServiceError as {@link dockerEntries} does
 * @see https://github.com/opencontainers/image-spec/blob/main/image-layout.md
 */
export function treeEntries(trees: readonly ArchiveTree[]): Entry[] {
  return [...layoutEntries(trees), ...blobEntries(trees)];
}

function treeOf(image: ArchiveImage, manifest: StoredManifest): ArchiveTree {
  const { reference, config, layers, configPlatform: platform } = image;
  return { reference, root: manifest.descriptor, platform, manifests: [manifest], configs: [config], layers };
}

/**
 * Returns the manifest that index.json lists. OCI readers such as udocker and Proxmox VE skip Docker schema 2
 * manifests, so the docker format lists an OCI equivalent. An image requested by digest alone keeps its manifest,
 * because the digest is its name.
 */
function listedManifest(image: ArchiveImage): StoredManifest {
  const isDocker = image.manifest.mediaType === MEDIA_TYPES.dockerManifest;
  return isDocker && image.reference.tag !== undefined ? ociManifest(image) : storedManifest(image);
}

function storedManifest({ manifest, manifestBytes }: ArchiveImage): StoredManifest {
  return { descriptor: manifest, bytes: manifestBytes };
}

function layoutEntries(trees: readonly ArchiveTree[]): Entry[] {
  return [
    { path: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
    { path: 'index.json', content: json(ociIndex(trees)) },
  ];
}

function ociIndex(trees: readonly ArchiveTree[]): unknown {
  return {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: trees.flatMap(({ reference, root, platform, companions = [] }) => [
      layoutEntry({ root, platform, name: layoutName(reference, root), tag: reference.tag }),
      ...companions.map(({ tag, root: own, annotations }) =>
        layoutEntry({ root: own, name: tag && `${reference.name}:${tag}`, tag, annotations }),
      ),
    ]),
  };
}

interface LayoutEntry extends Pick<ArchiveTree, 'root' | 'platform'>, Pick<Companion, 'tag' | 'annotations'> {
  readonly name: string | undefined;
}

function layoutEntry({ root, platform, name, tag, annotations }: LayoutEntry): unknown {
  const { mediaType, digest, size } = root;
  const names = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tag };
  return {
    ...{ mediaType, digest, size, platform: ociPlatform(platform ?? root.platform) },
    annotations: { ...annotations, ...names },
  };
}

/** Returns the platform of a descriptor; undefined if the config lacks a field that OCI requires. */
function ociPlatform({ os, architecture, variant, osVersion }: StatedPlatform = {}): unknown {
  if (os === undefined || architecture === undefined) return undefined;
  return { architecture, os, 'os.version': osVersion, variant };
}

function dockerManifest({ reference, config, layers }: ArchiveImage): unknown {
  const name = taggedName(reference);
  return {
    Config: blobPath(config.digest),
    RepoTags: name === undefined ? null : [name],
    Layers: layers.map((layer) => blobPath(layer.digest)),
  };
}

/**
 * Returns the name in index.json. Without a tag, the name ends with the digest of the entry itself. containerd imports
 * only named images, and Docker and podman misread a name with another digest.
 */
function layoutName(reference: Reference, root: Descriptor): string {
  return taggedName(reference) ?? `${reference.name}@${root.digest}`;
}

/**
 * Returns the name after loading, registry included; undefined without a tag, as dockerd and podman refuse digests in
 * RepoTags.
 */
function taggedName({ name, tag }: Reference): string | undefined {
  return tag === undefined ? undefined : `${name}:${tag}`;
}

function blobEntries(trees: readonly ArchiveTree[]): Entry[] {
  const entries = new Map<Digest, Entry>();
  const sizes = new Map<Digest, number>();
  const add = ({ digest, size }: Descriptor, content: Entry['content']): void => {
    if (sizes.has(digest) && sizes.get(digest) !== size) {
      throw new ServiceError('content-mismatch', detail('blob-sizes-differ', { digest }));
    }
    sizes.set(digest, size);
    if (!entries.has(digest)) entries.set(digest, { path: blobPath(digest), content });
  };
  for (const { manifests } of trees) for (const { descriptor, bytes } of manifests) add(descriptor, bytes);
  for (const { configs } of trees) for (const config of configs) add(config, config);
  for (const { layers } of trees) for (const layer of layers) add(layer, layer);
  return [...entries.values()];
}

/** No colon in a name: tar takes what stands before one for a remote host. */
function blobPath(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}
