import { CatalogueError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, splitDigest } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import type { Reference } from '../oci/reference.ts';
import type { Entry } from './layout.ts';

/** `docker`: OCI layout and Docker's manifest.json in one, which every loader takes; `oci`: the OCI layout alone. */
export type ArchiveFormat = 'docker' | 'oci';

/** An image as an archive holds it. */
export interface ArchiveImage {
  readonly reference: Reference;
  /** Points at `manifestBytes`. */
  readonly manifest: Descriptor;
  /** Byte for byte what the registry served: written anew, it would have another digest. */
  readonly manifestBytes: Uint8Array;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** A manifest with its bytes, as an archive holds it. */
export interface StoredManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** Everything below one manifest or index, whatever it is of. */
export interface ArchiveTree {
  readonly reference: Reference;
  /** Points at the first of `manifests`. */
  readonly root: Descriptor;
  readonly manifests: readonly [StoredManifest, ...StoredManifest[]];
  readonly configs: readonly Descriptor[];
  readonly layers: readonly Descriptor[];
  /** What is in the repository under tags of its own and belongs to it: signatures. */
  readonly companions?: readonly { readonly tag: string; readonly root: Descriptor }[];
}

/**
 * Lists the files of an archive: metadata first, so that a reader learns at once what is coming, then each blob once.
 *
 * @throws CatalogueError `content-mismatch` where two descriptors disagree on the size of one blob
 * @see https://github.com/opencontainers/image-spec/blob/main/image-layout.md
 * @see https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format
 */
export function archiveEntries(images: readonly ArchiveImage[], format: ArchiveFormat): Entry[] {
  const trees = images.map(treeOf);
  return [
    ...layoutEntries(trees),
    ...(format === 'docker' ? [{ path: 'manifest.json', content: json(images.map(dockerManifest)) }] : []),
    ...blobEntries(trees),
  ];
}

/** Lists the files of an OCI image layout of whole trees. @throws CatalogueError as {@link archiveEntries} does */
export function treeEntries(trees: readonly ArchiveTree[]): Entry[] {
  return [...layoutEntries(trees), ...blobEntries(trees)];
}

function treeOf({ reference, manifest, manifestBytes, config, layers }: ArchiveImage): ArchiveTree {
  const manifests = [{ descriptor: manifest, bytes: manifestBytes }] as const;
  return { reference, root: manifest, manifests, configs: [config], layers };
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
    manifests: trees.flatMap(({ reference, root, companions = [] }) => [
      layoutEntry(root, taggedName(reference) ?? `${reference.name}@${root.digest}`, reference.tag),
      ...companions.map(({ tag, root: own }) => layoutEntry(own, `${reference.name}:${tag}`, tag)),
    ]),
  };
}

/**
 * Names what an archive holds. Without a tag, the name ends in the descriptor's own digest: containerd imports no image
 * without a name, and Docker and podman misread a name with another digest.
 */
function layoutEntry(
  { mediaType, digest, size }: Descriptor,
  name: string,
  tag: string | undefined,
): unknown {
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tag };
  return { mediaType, digest, size, annotations };
}

function dockerManifest({ reference, config, layers }: ArchiveImage): unknown {
  const name = taggedName(reference);
  return {
    Config: blobPath(config.digest),
    RepoTags: name === undefined ? null : [name],
    Layers: layers.map((layer) => blobPath(layer.digest)),
  };
}

/** The name after loading, registry included. dockerd and podman refuse a digest in RepoTags. */
function taggedName({ name, tag }: Reference): string | undefined {
  return tag === undefined ? undefined : `${name}:${tag}`;
}

function blobEntries(trees: readonly ArchiveTree[]): Entry[] {
  const entries = new Map<Digest, Entry>();
  const sizes = new Map<Digest, number>();
  const add = ({ digest, size }: Descriptor, content: Entry['content']): void => {
    if (sizes.has(digest) && sizes.get(digest) !== size) {
      throw new CatalogueError('content-mismatch', `The registry states two sizes for the blob ${digest}.`);
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
