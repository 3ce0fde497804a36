import { archiveFilename } from '../../archive/archive-name.ts';
import { formatPlatform, normalisePlatform, type Platform, samePlatform } from '../../oci/platform.ts';
import { sortTags } from '../../oci/tag-order.ts';
import type { DetailsRequest, ImageDetails, ImageInspector } from '../image-catalogue.ts';
import { NOT_CHECKED } from '../signatures/image-signatures.ts';
import type { Engine } from './engine.ts';
import { digestOf, isFor, notInEngine, otherPlatform } from './engine-images.ts';
import { engineName } from './engine-name.ts';
import { type EngineSourceOptions, requireEngineFormat } from './source.ts';

export interface EngineCatalogueOptions extends Pick<EngineSourceOptions, 'policy' | 'defaultPlatform'> {
  readonly engine: Engine;
  /** Describes the images that the engine would pull. */
  readonly registries: ImageInspector;
}

/**
 * Describes images that an engine has or would pull, without pulling them. The size of an archive is unknown until it
 * is saved.
 */
export function createEngineInspector({
  engine,
  registries,
  policy,
  defaultPlatform,
}: EngineCatalogueOptions): ImageInspector {
  const inEngine = async (
    request: DetailsRequest,
    signal: AbortSignal,
  ): Promise<ImageDetails | undefined> => {
    const { reference, platform } = request;
    const isExact = reference.digest !== undefined && platform === undefined;
    const wanted = platform ?? defaultPlatform;
    const image = await engine.inspect(engineName(reference), wanted, signal);
    if (image === undefined) return undefined;
    if (!isExact && !isFor(wanted, image)) {
      if (policy === 'never') throw otherPlatform(reference, wanted, image);
      return undefined;
    }
    const own = formatPlatform(normalisePlatform(image.platform));
    const { created, config } = image;
    return {
      ...{ kind: 'image', format: request.format },
      ...{ digest: digestOf(image, reference), indexDigest: undefined, platform: own, platforms: [own] },
      ...{
        filename: filenameOf(request, defaultPlatform),
        size: undefined,
        etag: undefined,
        layers: undefined,
      },
      ...{ created, config, zstd: false, signature: NOT_CHECKED, staleSince: undefined },
    };
  };

  const atRegistry = async (request: DetailsRequest, signal: AbortSignal): Promise<ImageDetails> => {
    // An engine cannot pull artifacts other than images.
    const details = await registries.describe({ ...request, isFormatOpen: false }, signal);
    return { ...details, size: undefined, etag: undefined, zstd: false };
  };

  return {
    async describe(request, signal) {
      requireEngineFormat(request.format);
      const there = policy === 'always' ? undefined : await inEngine(request, signal);
      if (there !== undefined) return there;
      if (policy === 'never') throw notInEngine(request.reference);
      return atRegistry(request, signal);
    },

    async tags(repository, signal, onCostly) {
      if (policy === 'always') return registries.tags(repository, signal, onCostly);
      const own = await engine.tags(repository, signal);
      if (policy === 'never') return { tags: sortTags(own), isComplete: true };
      const there = await registries.tags(repository, signal, onCostly).catch((error: unknown) => {
        if (own.length === 0) throw error;
        return { tags: [], isComplete: false };
      });
      const all = new Set([...own, ...there.tags]);
      return { tags: sortTags(all), isComplete: there.isComplete };
    },
  };
}

function filenameOf({ reference, platform, format }: DetailsRequest, standard: Platform): string {
  const isDefault = platform === undefined || samePlatform(platform, standard);
  return archiveFilename({
    ...{ references: [reference], format },
    platform: isDefault ? undefined : platform,
  });
}
