import { ARTIFACT_FORMAT, formatsFor } from '../../archive/format.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { Platform } from '../../oci/platform.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { allOrNone } from '../../util/all-or-none.ts';
import type { Documents } from '../documents.ts';
import type { ArchiveRequest } from '../image-source.ts';
import type { ImageSignatures } from '../signatures/image-signatures.ts';
import { blobsOf } from './archive-blobs.ts';
import { layFiles, type ResolvedArtifact, requireFiles, resolveArtifact } from './artifact-resolver.ts';
import { type FoundContents, unlessDefault } from './found-contents.ts';

export interface ArtifactFilesOptions {
  readonly client: RegistryClient;
  readonly defaultPlatform: Platform;
  readonly signatures: ImageSignatures;
  readonly documents: Documents;
}

/**
 * Finds the files of the requested artifacts. Returns undefined if all references name images.
 *
 * @param counted the client whose requests count toward the memory of the download
 * @throws ServiceError `not-an-image` for a mixture of images and artifacts, `no-files`, or as `resolveTree` does
 */
export type FindArtifactFiles = (
  request: Pick<ArchiveRequest, 'references'>,
  platform: Platform | undefined,
  counted: RegistryClient,
  signal: AbortSignal,
) => Promise<FoundContents | undefined>;

export function createArtifactFiles({
  client,
  defaultPlatform,
  signatures,
  documents,
}: ArtifactFilesOptions): FindArtifactFiles {
  return async ({ references }, platform, counted, signal) => {
    const resolved = await allOrNone(
      references,
      (reference, ended) =>
        resolveArtifact(
          { client: counted, documents, reference, signal: ended },
          { platform, defaultPlatform },
        ),
      signal,
    );
    const artifacts = resolved.filter((artifact) => artifact !== undefined);
    if (artifacts.length === 0) return undefined;
    if (artifacts.length < resolved.length) throw mixedContents(references, resolved);
    artifacts.forEach(requireFiles);
    const trees = artifacts.map(({ tree }) => tree);
    const signed = await allOrNone(
      trees,
      ({ reference, upstream }, ended) => signatures.require(reference, [upstream], ended),
      signal,
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
      suffix: unlessDefault(platform, defaultPlatform),
    };
  };
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
    detail('image-and-artifact', { artifact: `${artifact}`, image: `${image}`, formats }),
  );
}
