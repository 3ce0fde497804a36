import { formatReference, type Reference } from '../oci/reference.ts';
import type { UpstreamBudgets, UpstreamLimits } from '../registry/upstream-budget.ts';
import { inTime } from '../sources/deadline.ts';
import type { PullSource } from './pull-source.ts';

/** The budget of one request: an index, a manifest, a list of referrers, and what decides whether they are signed. */
const LIMITS: UpstreamLimits = { requests: 100, bytes: 64 * 2 ** 20, manifests: 20, blobs: 100 };
/** Milliseconds. Daemons wait a minute or longer for an answer. */
const TIMEOUT_MS = 60_000;

/** Gives each request to a source a budget for what it spends upstream, and a deadline. Reading a blob has neither. */
export function boundedPulls(source: PullSource, budgets: UpstreamBudgets): PullSource {
  const bounded = <T>(
    reference: Reference,
    signal: AbortSignal,
    work: (ended: AbortSignal) => Promise<T>,
  ): Promise<T> =>
    inTime(
      formatReference(reference),
      (ended) => budgets.run({ limits: LIMITS }, () => work(ended)),
      signal,
      TIMEOUT_MS,
    );
  return {
    describe: (reference, signal) => bounded(reference, signal, (ended) => source.describe(reference, ended)),
    manifest: (reference, request) =>
      bounded(reference, request.signal, (signal) => source.manifest(reference, { ...request, signal })),
    blob: (repository, digest, signal) =>
      bounded(repository, signal, (ended) => source.blob(repository, digest, ended)),
    referrers: (repository, digest, artifactType, request) =>
      bounded(repository, request.signal, (signal) =>
        source.referrers(repository, digest, artifactType, { ...request, signal }),
      ),
  };
}
