import { AsyncLocalStorage } from 'node:async_hooks';
import { detail, inEnglish } from '../errors/details.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import { createGate, type Gate } from '../util/gate.ts';
import type { DescribingClient, FetchedManifest } from './client.ts';

/** The upstream costs that one client request may cause before its archive is known. */
export interface UpstreamLimits {
  /** The number of HTTP requests, including those for tokens, redirects, and retries. */
  readonly requests: number;
  /** Bytes of manifests, configs, and signatures, from the cache too: each of them is parsed. */
  readonly bytes: number;
  /** Manifests and indexes, including cached ones. Registries may count each as a pull. */
  readonly manifests: number;
  /** Layers and configs of all considered manifests. Each takes a kilobyte of tar headers. */
  readonly blobs: number;
}

export interface UpstreamBudgetOptions {
  readonly limits: UpstreamLimits;
  /**
   * Called once before the work sends more than {@link FREE_REQUESTS} upstream requests. Throws to end the work, for
   * example if the client has no download slot left.
   */
  readonly onCostly?: (() => Promise<void>) | undefined;
}

/**
 * Counts the upstream costs of a client request in one place. A budget travels with the asynchronous context, as a
 * trace does, so that every HTTP request counts, in any layer.
 */
export interface UpstreamBudgets {
  /**
   * Runs work with its own budget. If it is part of other work, it also counts against that work's budget.
   *
   * @throws ServiceError `request-too-costly`, what `onCostly` throws, or what the work throws
   */
  run<T>(options: UpstreamBudgetOptions, work: () => Promise<T>): Promise<T>;
  /** Counts one HTTP request against the budget of the current work. */
  count(): void;
  /**
   * Checks that the current work may send one more request. Calls that may send many, such as for lists, use it.
   *
   * @throws ServiceError as {@link UpstreamBudgets.run} does
   */
  admit(): Promise<void>;
  /**
   * Wraps a client so that its calls end the work once the budget is spent. Wrap it outside of what several requests
   * share: a budget that is spent fails only the request that it belongs to.
   */
  charge(client: DescribingClient): DescribingClient;
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

/** Tells whether an error means that the client gets no download slot. */
export function isSlotRefusal(error: unknown): boolean {
  return error instanceof ServiceError && SLOT_REFUSALS.has(error.code);
}

/** Tells whether an error is about the limits of one client, so that other clients can repeat the shared work. */
export function isRefusedSpending(error: unknown): boolean {
  return isSlotRefusal(error) || (error instanceof ServiceError && error.code === 'request-too-costly');
}

type Cost = Partial<Omit<UpstreamLimits, 'requests'>>;

interface Budget extends UpstreamBudgetOptions {
  /** The budget of the enclosing work. */
  readonly parent: Budget | undefined;
  readonly gate: Gate;
  readonly spent: Record<keyof UpstreamLimits, number>;
  /** Resolves when the client may spend more than the free requests. */
  admission: Promise<void> | undefined;
}

export function createUpstreamBudgets(): UpstreamBudgets {
  const budgets = new AsyncLocalStorage<Budget>();

  const charged = async <T>(
    work: () => Promise<T>,
    signal: AbortSignal,
    costOf: (result: T) => Cost = () => ({}),
  ): Promise<T> => {
    const budget = budgets.getStore();
    if (budget === undefined) return work();
    return budget.gate.run(async () => {
      await admit(budget);
      const result = await work();
      take(budget, costOf(result));
      return result;
    }, signal);
  };
  const costOf = (fetched: FetchedManifest | undefined): Cost =>
    fetched === undefined ? {} : { bytes: fetched.bytes.length, manifests: 1 };

  const chargeReader = (reader: BlobReader): BlobReader => ({
    ...reader,
    read(blob, range, signal, onFetched) {
      const budget = budgets.getStore();
      const open = () => reader.read(blob, range, signal, onFetched);
      if (budget === undefined) return open();
      return charged(async () => {
        take(budget, { bytes: blob.size });
        return open();
      }, signal);
    },
  });

  return {
    run(options, work) {
      const parent = budgets.getStore();
      const gate = parent?.gate ?? createGate(CALLS_AT_ONCE);
      const spent = { requests: 0, bytes: 0, manifests: 0, blobs: 0 };
      return budgets.run({ ...options, parent, gate, spent, admission: undefined }, work);
    },
    count() {
      for (const { spent } of lineage(budgets.getStore())) spent.requests += 1;
    },
    admit: () => admit(budgets.getStore()),
    charge: (client) => ({
      manifest: (repository, reference, signal) =>
        charged(() => client.manifest(repository, reference, signal), signal, costOf),
      describe: (repository, reference, signal) =>
        charged(() => client.describe(repository, reference, signal), signal),
      head: (repository, reference, signal) =>
        charged(() => client.head(repository, reference, signal), signal),
      tags: (repository, signal) => charged(() => client.tags(repository, signal), signal),
      findBlob: (repository, digest, signal) =>
        charged(() => client.findBlob(repository, digest, signal), signal),
      referrers: (repository, digest, signal) =>
        charged(() => client.referrers(repository, digest, signal), signal, costOf),
      async checkSizes(repository, blobs, signal) {
        const budget = budgets.getStore();
        if (budget !== undefined) take(budget, { blobs: blobs.length });
        return charged(() => client.checkSizes(repository, blobs, signal), signal);
      },
      blobs: (repository) => chargeReader(client.blobs(repository)),
    }),
  };
}

/** Yields a budget and those of all enclosing work. */
function* lineage(budget: Budget | undefined): Generator<Budget, void> {
  for (let one = budget; one !== undefined; one = one.parent) yield one;
}

async function admit(innermost: Budget | undefined): Promise<void> {
  for (const budget of lineage(innermost)) {
    const { limits, spent, onCostly } = budget;
    if (spent.requests >= limits.requests) throw tooCostly('requests', limits.requests);
    refuseOverspent(budget);
    if (spent.requests < FREE_REQUESTS) continue;
    budget.admission ??= onCostly?.();
    await budget.admission;
  }
}

function take(innermost: Budget, cost: Cost): void {
  for (const { limits, spent } of lineage(innermost)) {
    for (const row of ['bytes', 'manifests', 'blobs'] as const) {
      spent[row] += cost[row] ?? 0;
    }
    refuseOverspent({ limits, spent });
  }
}

function refuseOverspent({ limits, spent }: Pick<Budget, 'limits' | 'spent'>): void {
  for (const row of ['bytes', 'manifests', 'blobs'] as const) {
    if (spent[row] > limits[row]) throw tooCostly(row, limits[row]);
  }
}

function tooCostly(row: keyof UpstreamLimits, limit: number): ServiceError {
  const cost = detail(`cost-${row}`, { limit: row === 'bytes' ? Math.floor(limit / 1024 ** 2) : limit });
  return new ServiceError('request-too-costly', [cost, detail('cost-advice', {})], {
    reason: inEnglish([cost]).replace(/\.$/, ''),
  });
}
