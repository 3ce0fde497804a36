import { fileNames } from '../../archive/artifact-file-names.ts';
import { formatsFor } from '../../archive/format.ts';
import type { Entry } from '../../archive/layout.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { type ArtifactFile, artifactFiles, hasNamesInConfig } from '../../oci/artifact.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { isComplete, type Platform } from '../../oci/platform.ts';
import { formatReference } from '../../oci/reference.ts';
import type { FetchedManifest } from '../../registry/client.ts';
import { type ContentKind, contentKind, type ManifestSearch } from './content-kind.ts';
import { readConfig } from './image-resolver.ts';
import { type ResolvedTree, resolveTree } from './tree-resolver.ts';

/** An artifact other than an image, with everything below its manifest or index. */
export interface ResolvedArtifact {
  readonly tree: ResolvedTree;
  readonly artifactType: string | undefined;
  readonly files: readonly ArtifactFile[];
  /** The platform by which an entry of an index was chosen; undefined if nothing was chosen. */
  readonly platform: Platform | undefined;
}

/** A file of an artifact with the name under which it is sent. */
export interface SentFile extends Pick<Entry, 'path'> {
  readonly content: Descriptor;
}

/**
 * Resolves the files of an artifact. In an index whose entries state platforms, only those for the requested platform
 * count.
 *
 * @returns undefined if the reference names an image
 * @throws ServiceError as {@link resolveTree} does
 */
export async function resolveArtifact(
  search: ManifestSearch,
  {
    platform,
    defaultPlatform,
  }: { readonly platform: Platform | undefined; readonly defaultPlatform: Platform },
): Promise<ResolvedArtifact | undefined> {
  const { client, documents, reference, signal } = search;
  const fetched = await rootOf(search);
  if ((await contentKind(search, fetched)) !== 'artifact') return undefined;
  const root = documents.links(fetched);
  const hasPlatforms =
    root.kind === 'index' && root.manifests.some(({ platform: own }) => own && isComplete(own));
  const chosen = hasPlatforms ? (platform ?? defaultPlatform) : undefined;
  const options = { platforms: chosen === undefined ? ('all' as const) : [chosen], documents };
  const tree = await resolveTree(client, reference, options, signal);
  const files: ArtifactFile[] = [];
  let { artifactType } = root;
  for (const { descriptor, bytes } of tree.manifests) {
    const { digest, mediaType: contentType } = descriptor;
    const manifest = documents.links({ bytes, digest, contentType });
    if (manifest.kind === 'index') continue;
    artifactType ??= manifest.artifactType;
    const config = hasNamesInConfig(manifest)
      ? await readConfig(client, reference, manifest.config, signal)
      : undefined;
    files.push(...artifactFiles(manifest, config));
  }
  return { tree, artifactType, files, platform: chosen };
}

/** Finds out if a reference names an image. */
export async function kindOf(search: ManifestSearch): Promise<ContentKind> {
  return contentKind(search, await rootOf(search));
}

/**
 * Names the files of artifacts as they are sent, each once. A single file is sent without a tar around it, under
 * `plainName`.
 */
export function layFiles(artifacts: readonly ResolvedArtifact[]): {
  readonly files: readonly SentFile[];
  readonly plainName: string | undefined;
} {
  const all = artifacts.flatMap(({ files }) => files);
  const each = [...new Map(all.map((file) => [`${file.blob.digest} ${file.title}`, file])).values()];
  const isPlain = each.length === 1;
  const names = fileNames(
    each.map(({ blob: { mediaType, digest }, title, isFolder }) => ({
      ...{ mediaType, digest, isFolder },
      title: isPlain ? title?.replace(/[/\\]+$/, '').replace(/^.*[/\\]/s, '') : title,
    })),
  );
  return {
    files: each.map(({ blob }, at) => ({ path: names[at] ?? '', content: blob })),
    plainName: isPlain ? names[0] : undefined,
  };
}

/** Tells whether an error may mean that a reference names no image. */
export function isMissingImage(error: unknown): error is ServiceError {
  return (
    error instanceof ServiceError && (error.code === 'not-an-image' || error.code === 'platform-not-found')
  );
}

/** Adds to the error of an artifact the formats in which it can be requested. */
export function otherFormats({ sentences }: ServiceError): ServiceError {
  const formats = formatsFor(({ artifacts }) => artifacts !== undefined);
  return new ServiceError('not-an-image', [...sentences, detail('formats-possible', { formats })]);
}

/** Refuses an artifact without files, such as one that consists of annotations. @throws ServiceError `no-files` */
export function requireFiles({ tree: { reference }, files }: ResolvedArtifact): void {
  if (files.length > 0) return;
  throw new ServiceError(
    'no-files',
    [
      detail('artifact-empty', { image: formatReference(reference) }),
      detail('formats-possible', { formats: formatsFor(({ artifacts }) => artifacts === 'whole') }),
    ],
    { reason: 'The artifact has no files' },
  );
}

function rootOf({ client, reference, signal }: ManifestSearch): Promise<FetchedManifest> {
  return client.manifest(reference, reference.digest ?? reference.tag ?? 'latest', signal);
}
