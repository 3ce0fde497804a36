import { archiveFilename } from '../../archive/filename.ts';
import { FORMATS } from '../../archive/format.ts';
import { layoutArchive } from '../../archive/layout.ts';
import { isZstdLayer } from '../../oci/manifest.ts';
import { formatPlatform, normalisePlatform, type StatedPlatform, samePlatform } from '../../oci/platform.ts';
import { sortTags } from '../../oci/tag-order.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { createMemoryCaches } from '../../util/memory-caches.ts';
import { parsing } from '../documents.ts';
import type { DetailsRequest, ImageDetails, ImageInspector } from '../image-catalogue.ts';
import { requireSize } from '../require-size.ts';
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
    { reference, platform, format }: DetailsRequest,
    counted: RegistryClient,
    signal: AbortSignal,
  ): Promise<ImageDetails> => {
    const { prefersGzip } = FORMATS[format];
    const options = { platform, defaultPlatform, prefersGzip, documents };
    const image = await resolveImage(counted, reference, options, signal);
    const layout = layoutArchive(FORMATS[format].entries([image]));
    requireSize(layout.size, maxSize);
    const { created, summary } = documents.config(image.config.digest, image.configBytes);
    const isDefault = platform === undefined || samePlatform(platform, defaultPlatform);
    return {
      digest: image.manifest.digest,
      indexDigest: image.indexDigest,
      platform: normalForm(image.platform),
      platforms: [...new Set([...image.platforms, image.platform].map(normalForm))],
      filename: archiveFilename({
        ...{ references: [reference], format },
        platform: isDefault ? undefined : platform,
      }),
      size: layout.size,
      etag: layout.etag,
      layers: image.layers.map(({ digest, size }) => ({ digest, size })),
      created,
      config: summary,
      zstd: image.layers.some(isZstdLayer),
      signature: await signatures.describe(reference, signableDigests(image), signal),
      staleSince: image.staleSince,
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

function normalForm(stated: StatedPlatform): string {
  return formatPlatform(normalisePlatform(stated));
}
