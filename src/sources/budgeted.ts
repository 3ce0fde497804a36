import type { UpstreamBudgets, UpstreamLimits } from '../registry/upstream-budget.ts';
import type { ImageCatalogue } from './image-catalogue.ts';
import type { Archive, ImageSource } from './image-source.ts';

/**
 * Ten images beside ten of `have`, from an empty cache, take some 150 requests. Their indexes have up to 200 kB, their
 * manifests 20 kB, and their configs 100 kB.
 */
const ONE_PLATFORM: UpstreamLimits = { requests: 500, bytes: 8 * 1024 * 1024 };
/** All platforms of ten images have some 500 manifests, attestations included, of 4 kB on average. */
const SEVERAL_PLATFORMS: UpstreamLimits = { requests: 1_500, bytes: 16 * 1024 * 1024 };

/** Gives each request to a source a budget for what it spends upstream before its archive is known. */
export function budgetedSource(source: ImageSource<Archive>, budgets: UpstreamBudgets): ImageSource<Archive> {
  return {
    open: (request, signal) => {
      const limits = request.platforms === undefined ? ONE_PLATFORM : SEVERAL_PLATFORMS;
      return budgets.run({ limits, onCostly: request.onCostly }, () => source.open(request, signal));
    },
  };
}

/** Gives each question to a catalogue a budget for what it spends upstream. */
export function budgetedCatalogue(catalogue: ImageCatalogue, budgets: UpstreamBudgets): ImageCatalogue {
  return {
    describe: (request, signal) =>
      budgets.run({ limits: ONE_PLATFORM, onCostly: request.onCostly }, () =>
        catalogue.describe(request, signal),
      ),
    tags: (repository, signal, onCostly) =>
      budgets.run({ limits: ONE_PLATFORM, onCostly }, () => catalogue.tags(repository, signal)),
  };
}
