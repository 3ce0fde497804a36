import type { UpstreamBudgets, UpstreamLimits } from '../registry/upstream-budget.ts';
import type { ImageCatalogue } from './image-catalogue.ts';
import type { Archive, ImageSource } from './image-source.ts';

/**
 * Ten images beside ten of `have`, from an empty cache, take some 150 requests. Their indexes have up to 200 kB, their
 * manifests 20 kB, and their configs 100 kB. Each may have 1000 layers.
 */
const ONE_PLATFORM = { requests: 500, bytes: 8 * 1024 * 1024, blobs: 20_020 };
/** Manifests for each image: its indexes, images that do not state a platform, other compressions, and signatures. */
const MANIFESTS_PER_IMAGE = 40;
/**
 * All platforms of ten images have some 500 manifests, attestations included, of 4 kB on average. Ten images of 127
 * layers for ten platforms, beside ten of `have`, have some 26,000 blobs.
 */
const SEVERAL_PLATFORMS: UpstreamLimits = {
  requests: 1_500,
  bytes: 16 * 1024 * 1024,
  manifests: 1_500,
  blobs: 30_000,
};

/** Gives each request to a source a budget for what it spends upstream before its archive is known. */
export function budgetedSource(source: ImageSource<Archive>, budgets: UpstreamBudgets): ImageSource<Archive> {
  return {
    open: (request, signal) => {
      const { references, have, platforms } = request;
      const images = references.length + (have?.references.length ?? 0);
      const limits = platforms === undefined ? onePlatform(images) : SEVERAL_PLATFORMS;
      return budgets.run({ limits, onCostly: request.onCostly }, () => source.open(request, signal));
    },
  };
}

/** Gives each question to a catalogue a budget for what it spends upstream. */
export function budgetedCatalogue(catalogue: ImageCatalogue, budgets: UpstreamBudgets): ImageCatalogue {
  return {
    describe: (request, signal) =>
      budgets.run({ limits: onePlatform(1), onCostly: request.onCostly }, () =>
        catalogue.describe(request, signal),
      ),
    tags: (repository, signal, onCostly) =>
      budgets.run({ limits: onePlatform(1), onCostly }, () => catalogue.tags(repository, signal)),
  };
}

function onePlatform(images: number): UpstreamLimits {
  return { ...ONE_PLATFORM, manifests: images * MANIFESTS_PER_IMAGE };
}
