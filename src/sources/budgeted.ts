import { isSeveral } from '../oci/platform-choice.ts';
import { formatReference } from '../oci/reference.ts';
import type { UpstreamBudgets, UpstreamLimits } from '../registry/upstream-budget.ts';
import { inTime, RESOLVE_TIMEOUT_MS } from './deadline.ts';
import type { FindReferrersOf, ImageInspector } from './image-catalogue.ts';
import type { Archive, ImageSource } from './image-source.ts';

/**
 * With an empty cache, ten images and ten of `have` take about 150 requests. An index has up to 200 kB, a manifest 20 kB,
 * and a config 100 kB. Each image may have 1000 layers.
 */
const ONE_PLATFORM = { requests: 500, bytes: 8 * 1024 * 1024, blobs: 20_020 };
/** Manifests per image: its indexes, images without a stated platform, other compressions, and signatures. */
const MANIFESTS_PER_IMAGE = 40;
/**
 * All platforms of ten images have about 500 manifests of 4 kB on average, including attestations. Ten images with 127
 * layers for ten platforms, and ten of `have`, have about 26,000 blobs.
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
    ...source,
    open: (request, signal) => {
      const { references, have, platform, referrers } = request;
      const images = references.length + (have?.references.length ?? 0);
      const limits = isSeveral(platform) || referrers ? SEVERAL_PLATFORMS : onePlatform(images);
      return budgets.run({ limits, onCostly: request.onCostly }, () => source.open(request, signal));
    },
  };
}

/** Gives each question to a catalogue a budget for what it spends upstream. */
export function budgetedInspector(catalogue: ImageInspector, budgets: UpstreamBudgets): ImageInspector {
  return {
    describe: (request, signal) =>
      budgets.run({ limits: onePlatform(1), onCostly: request.onCostly }, () =>
        catalogue.describe(request, signal),
      ),
    tags: (repository, signal, onCostly) =>
      budgets.run({ limits: onePlatform(1), onCostly }, () => catalogue.tags(repository, signal)),
  };
}

/** Gives each search for referrers a budget and a deadline. */
export function boundedReferrers(find: FindReferrersOf, budgets: UpstreamBudgets): FindReferrersOf {
  return (request, signal) =>
    inTime(
      formatReference(request.reference),
      (ended) =>
        budgets.run({ limits: onePlatform(1), onCostly: request.onCostly }, () => find(request, ended)),
      signal,
      RESOLVE_TIMEOUT_MS,
    );
}

function onePlatform(images: number): UpstreamLimits {
  return { ...ONE_PLATFORM, manifests: images * MANIFESTS_PER_IMAGE };
}
