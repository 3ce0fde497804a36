import { archiveFilename } from '../../archive/archive-name.ts';
import { ARTIFACT_FORMAT, FORMATS } from '../../archive/format.ts';
import { layoutArchive, layoutFile } from '../../archive/layout.ts';
import { ServiceError } from '../../errors.ts';
import { summariseConfig } from '../../oci/config-summary.ts';
import { isIndexType, isZstdLayer } from '../../oci/manifest.ts';
import { formatPlatform, normalisePlatform, type StatedPlatform, samePlatform } from '../../oci/platform.ts';
import { sortTags } from '../../oci/tag-order.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { createMemoryCaches } from '../../util/memory-caches.ts';
import { parsing } from '../documents.ts';
import type { DetailsRequest, ImageDetails, ImageInspector } from '../image-catalogue.ts';
import { requireSize } from '../require-size.ts';
import {
  isMissingImage,
  layFiles,
  otherFormats,
  requireFiles,
  resolveArtifact,
} from './artifact-resolver.ts';
import type { ManifestSearch } from './content-kind.ts';
import { resolveImage, signableDigests } from './image-resolver.ts';
import { createInlineMemory } from './inline-memory.ts';
import type { RegistrySourceOptions } from './source.ts';

/** Describes images by what their registries say: manifest and config, no layer. */
export function createRegistryInspector({
  client,
  defaultPlatform,
  maxSize,
  signatures,
  inline = createInlineMemory(createMemoryCaches(() => performance.now())),
  documents = parsing,
}: Omit<RegistrySourceOptions, 'now' | 'caches'>): ImageInspector {
  const describe = async (
    request: DetailsRequest,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<ImageDetails> => {
    const { reference, platform, format } = request;
    const { prefersGzip, unpacked } = FORMATS[format];
    const options = { platform, defaultPlatform, prefersGzip, documents };
    const search = { client: counted, documents, reference, signal };
    const image = await resolveImage(counted, reference, options, signal).catch(unlessMissingImage);
    if (image instanceof ServiceError) return describeArtifact(request, search, image);
    const layout = layoutArchive(FORMATS[format].entries([image]));
    requireSize(layout.size, maxSize);
    const { created, summary } = documents.config(image.config.digest, image.configBytes);
    const isDefault = platform === undefined || samePlatform(platform, defaultPlatform);
    return {
      ...{ kind: 'image', format },
      digest: image.manifest.digest,
      indexDigest: image.indexDigest,
      platform: normalForm(image.platform),
      platforms: [...new Set([...image.platforms, image.platform].map(normalForm))],
      filename: archiveFilename({
        ...{ references: [reference], format },
        platform: isDefault ? undefined : platform,
      }),
      // The content of unpacked layers decides, and is not read here.
      size: unpacked === undefined ? layout.size : undefined,
      etag: unpacked === undefined ? layout.etag : undefined,
      layers: image.layers.map(({ digest, size }) => ({ digest, size })),
      created,
      config: summary,
      zstd: image.layers.some(isZstdLayer),
      signature: await signatures.describe(reference, signableDigests(image), signal),
      staleSince: image.staleSince,
    };
  };

  /** @param failure the reason why the reference names no image */
  const describeArtifact = async (
    { reference, platform, format, isFormatOpen }: DetailsRequest,
    search: ManifestSearch,
    failure: ServiceError,
  ): Promise<ImageDetails> => {
    const artifact = await resolveArtifact(search, { platform, defaultPlatform });
    if (artifact === undefined) throw failure;
    const { artifacts } = FORMATS[format];
    if (artifacts === undefined && !isFormatOpen) throw otherFormats(failure);
    const sent = artifacts === undefined ? ARTIFACT_FORMAT : format;
    const { treeEntries } = FORMATS[sent];
    if (treeEntries === undefined) requireFiles(artifact);
    const { tree } = artifact;
    const { files, plainName } = layFiles([artifact]);
    const name = archiveFilename({ references: [reference], format: sent, platform: artifact.platform });
    const isPlain = treeEntries === undefined && plainName !== undefined;
    const layout = isPlain ? layoutFile(files) : layoutArchive(treeEntries?.([tree]) ?? files);
    requireSize(layout.size, maxSize);
    return {
      ...{ kind: 'artifact', format: sent, artifactType: artifact.artifactType },
      digest: tree.root.digest,
      indexDigest: isIndexType(tree.root.mediaType) ? tree.upstream : undefined,
      platform: artifact.platform && formatPlatform(artifact.platform),
      platforms: [...new Set(tree.platforms.map(normalForm))],
      filename: isPlain ? plainName : name,
      ...{ size: layout.size, etag: layout.etag },
      layers: undefined,
      files: files.map(({ path, content: { mediaType, digest, size } }) => ({
        ...{ name: path, mediaType, digest, size },
      })),
      created: undefined,
      config: summariseConfig(undefined),
      zstd: false,
      signature: await signatures.describe(reference, [tree.upstream], search.signal),
      staleSince: tree.staleSince,
    };
  };

  return {
    async describe(request, signal) {
      const lease = inline.begin(signal, request.client);
      try {
        return await describe(request, lease.counted(client), signal);
      } finally {
        lease.end();
      }
    },

    async tags(repository, signal) {
      const { tags, isComplete } = await client.tags(repository, signal);
      return { tags: sortTags(tags), isComplete };
    },
  };
}

/** Returns the error of a reference that may name an artifact. */
function unlessMissingImage(error: unknown): ServiceError {
  if (isMissingImage(error)) return error;
  throw error;
}

function normalForm(stated: StatedPlatform): string {
  return formatPlatform(normalisePlatform(stated));
}
