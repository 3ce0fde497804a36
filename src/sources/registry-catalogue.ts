import { archiveEntries } from '../archive/entries.ts';
import { archiveFilename } from '../archive/filename.ts';
import { layoutArchive } from '../archive/layout.ts';
import { readConfigFacts } from '../oci/config-summary.ts';
import { isZstdLayer } from '../oci/manifest.ts';
import { formatPlatform, normalisePlatform, type StatedPlatform, samePlatform } from '../oci/platform.ts';
import { sortTags } from '../oci/tag-order.ts';
import type { ImageCatalogue } from './image-catalogue.ts';
import { resolveImage, signableDigests } from './image-resolver.ts';
import { type RegistrySourceOptions, requireSize } from './registry-source.ts';

/** Describes images by what their registries say: manifest and config, no layer. */
export function createRegistryCatalogue({
  client,
  defaultPlatform,
  maxSize,
  signatures,
}: Omit<RegistrySourceOptions, 'now' | 'caches'>): ImageCatalogue {
  return {
    async describe({ reference, platform, format }, signal) {
      const options = { platform, defaultPlatform, format };
      const image = await resolveImage(client, reference, options, signal);
      const layout = layoutArchive(archiveEntries([image], format));
      requireSize(layout.size, maxSize);
      const { created, summary } = readConfigFacts(image.configBytes);
      const isDefault = platform === undefined || samePlatform(platform, defaultPlatform);
      return {
        digest: image.manifest.digest,
        indexDigest: image.indexDigest,
        platform: normalForm(image.platform),
        platforms: [...new Set([...image.platforms, image.platform].map(normalForm))],
        filename: archiveFilename([reference], isDefault ? undefined : platform),
        size: layout.size,
        etag: layout.etag,
        layers: image.layers.map(({ digest, size }) => ({ digest, size })),
        created,
        config: summary,
        zstd: image.layers.some(isZstdLayer),
        signature: await signatures.describe(reference, signableDigests(image), signal),
        staleSince: image.staleSince,
      };
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
