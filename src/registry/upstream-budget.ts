import { AsyncLocalStorage } from 'node:async_hooks';
import { CatalogueError, type ErrorCode } from '../errors.ts';
import { createGate, type Gate } from '../gate.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { FetchedManifest, RegistryClient } from './client.ts';

/** What one request of a client may spend upstream before its archive is known. */
export interface UpstreamLimits {
  /** HTTP requests: tokens, redirects, and further tries included. */
  readonly requests: number;
  /** Bytes of manifests, configs, and signatures, from the cache too: each of them is parsed. */
  readonly bytes: number;
}

export interface UpstreamBudgetOptions {
  readonly limits: UpstreamLimits;
  /**
   * Called once before the work sends more than {@link FREE_REQUESTS} upstream requests. Throws to end the work, for
   * example where the client has no download slot left.
   */
  readonly onCostly?: (() => Promise<void>) | undefined;
}

/**
 * The one place that counts what a client's request spends upstream. A budget travels with the asynchronous context of
 * the work, as a trace does, so that every request of the HTTP client counts, whichever layer sends it.
 */
export interface UpstreamBudgets {
  /**
   * Runs work with a budget of its own. Within other work, everything also counts against the budget of that work.
   *
   * @throws CatalogueError `request-too-costly`, what `onCostly` throws, or what the work throws
   */
  run<T>(options: UpstreamBudgetOptions, work: () => Promise<T>): Promise<T>;
  /** Counts one HTTP request against the budget of the current work. */
  count(): void;
  /**
   * Checks that the current work may send one more request. For calls that send many, such as those for long lists.
   *
   * @throws CatalogueError as {@link UpstreamBudgets.run} does
   */
  admit(): Promise<void>;
  /**
   * Wraps a client so that its calls end the work once the budget is spent. Wrap it outside of what several requests
   * share: a budget that is spent fails only the request that it belongs to.
   */
  charge(client: RegistryClient): RegistryClient;
}

/** A cold image takes some six requests: a token, an index, a manifest, a config, and redirects. */
export const FREE_REQUESTS = 12;
/** Upstream calls of one request at a time, and so its connections. */
const CALLS_AT_ONCE = 8;
const SLOT_REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'too-many-downloads',
  'too-many-connections',
  'service-full',
]);

/** Tells whether an error refuses a client a download slot. */
export function isSlotRefusal(error: unknown): boolean {
  return error instanceof CatalogueError && SLOT_REFUSALS.has(error.code);
}

/** Tells whether an error is about what one client may spend, so that others who share its work may go on. */
export function isRefusedSpending(error: unknown): boolean {
  return isSlotRefusal(error) || (error instanceof CatalogueError && error.code === 'request-too-costly');
}

interface Budget extends UpstreamBudgetOptions {
  /** The budget of the work that this work is a part of. */
  readonly parent: Budget | undefined;
  readonly gate: Gate;
  requests: number;
  bytes: number;
  /** Settles when the client may spend more than what is free. */
  admission: Promise<void> | undefined;
}

export function createUpstreamBudgets(): UpstreamBudgets {
  const budgets = new AsyncLocalStorage<Budget>();

  const charged = async <T>(
    work: () => Promise<T>,
    signal: AbortSignal,
    sizeOf: (result: T) => number = () => 0,
  ): Promise<T> => {
    const budget = budgets.getStore();
    if (budget === undefined) return work();
    return budget.gate.run(async () => {
      await admit(budget);
      const result = await work();
      take(budget, sizeOf(result));
      return result;
    }, signal);
  };
  const sizeOf = (fetched: FetchedManifest | undefined): number => fetched?.bytes.length ?? 0;

  const chargeReader = (reader: BlobReader): BlobReader => ({
    ...reader,
    read(blob, range, signal) {
      const budget = budgets.getStore();
      const open = () => reader.read(blob, range, signal);
      if (budget === undefined) return open();
      return charged(async () => {
        take(budget, blob.size);
        return open();
      }, signal);
    },
  });

  return {
    run(options, work) {
      const parent = budgets.getStore();
      const gate = parent?.gate ?? createGate(CALLS_AT_ONCE);
      return budgets.run({ ...options, parent, gate, requests: 0, bytes: 0, admission: undefined }, work);
    },
    count() {
      for (const budget of lineage(budgets.getStore())) budget.requests += 1;
    },
    admit: () => admit(budgets.getStore()),
    charge: (client) => ({
      manifest: (repository, reference, signal) =>
        charged(() => client.manifest(repository, reference, signal), signal, sizeOf),
      resolveTag: (repository, tag, signal) =>
        charged(() => client.resolveTag(repository, tag, signal), signal),
      tags: (repository, signal) => charged(() => client.tags(repository, signal), signal),
      hasBlob: (repository, blob, signal) => charged(() => client.hasBlob(repository, blob, signal), signal),
      referrers: (repository, digest, signal) =>
        charged(() => client.referrers(repository, digest, signal), signal, sizeOf),
      checkSizes: (repository, blobs, signal) =>
        charged(() => client.checkSizes(repository, blobs, signal), signal),
      blobs: (repository) => chargeReader(client.blobs(repository)),
    }),
  };
}

/** Yields a budget and those of all work that it is a part of. */
function* lineage(budget: Budget | undefined): Generator<Budget, void> {
  for (let one = budget; one !== undefined; one = one.parent) yield one;
}

async function admit(innermost: Budget | undefined): Promise<void> {
  for (const budget of lineage(innermost)) {
    const { limits, onCostly } = budget;
    if (budget.requests >= limits.requests) {
      throw new CatalogueError(
        'request-too-costly',
        `To find out what this archive contains takes more than ${limits.requests} requests to registries. Ask for fewer images or platforms at once.`,
        { reason: `More than ${limits.requests} requests to registries` },
      );
    }
    if (budget.requests < FREE_REQUESTS) continue;
    budget.admission ??= onCostly?.();
    await budget.admission;
  }
}

function take(innermost: Budget, bytes: number): void {
  for (const budget of lineage(innermost)) {
    const { limits } = budget;
    budget.bytes += bytes;
    if (budget.bytes <= limits.bytes) continue;
    const mebibytes = Math.floor(limits.bytes / 1024 ** 2);
    throw new CatalogueError(
      'request-too-costly',
      `The manifests and configs of this request have more than ${mebibytes} MiB together. Ask for fewer images or platforms at once.`,
      { reason: `More than ${mebibytes} MiB of manifests and configs` },
    );
  }
}
