import { formatReference, type Reference } from '../oci/reference.ts';
import type { UpstreamBudgets, UpstreamLimits } from '../registry/upstream-budget.ts';
import { inTime } from '../sources/deadline.ts';
import type { PullRequest, PullSource } from './pull-source.ts';

/** The budget of one request: an index, a manifest, a list of referrers, and what decides whether they are signed. */
const LIMITS: UpstreamLimits = { requests: 100, bytes: 64 * 2 ** 20, manifests: 20, blobs: 100 };
/** Milliseconds. Daemons wait a minute or longer for an answer. */
const TIMEOUT_MS = 60_000;

/** Gives each request to a source a budget for what it spends upstream, and a deadline. Reading a blob has neither. */
export function boundedPulls(source: PullSource, budgets: UpstreamBudgets): PullSource {
  const bounded = <T>(
    reference: Reference,
    request: PullRequest,
    work: (bounded: PullRequest) => Promise<T>,
  ): Promise<T> =>
    inTime(
      formatReference(reference),
      (signal) =>
        budgets.run({ limits: LIMITS, onCostly: request.onCostly }, () => work({ ...request, signal })),
      request.signal,
      TIMEOUT_MS,
    );
  return {
    describe: (reference, request) => bounded(reference, request, (own) => source.describe(reference, own)),
    manifest: (reference, request) => bounded(reference, request, (own) => source.manifest(reference, own)),
    blob: (repository, digest, request) =>
      bounded(repository, request, (own) => source.blob(repository, digest, own)),
    referrers: (repository, digest, artifactTypes, request) =>
      bounded(repository, request, (own) => source.referrers(repository, digest, artifactTypes, own)),
  };
}
