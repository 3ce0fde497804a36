import { AsyncLocalStorage } from 'node:async_hooks';
import { createGate } from './gate.ts';

/**
 * Bounds how many large documents a process reads at once. Strangers choose how many and how large they are, and each
 * takes several times its size while it is received, verified, and stored.
 */
export interface LargeDocuments {
  /** Runs work that keeps the place of its first large document until it ends, so that all its documents share one. */
  run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /**
   * Runs work that reserves memory for a large document. It waits for a place unless the surrounding
   * {@link LargeDocuments.run} has one.
   *
   * @param signal that of the surrounding run if absent
   * @throws the reason of the signal if it aborts before, or what the work throws
   */
  read<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

/** Bytes. Smaller documents need no place: most manifests have 20 kB, and the largest real indexes some 200 kB. */
export const SMALL_DOCUMENT = 256 * 1024;
/** Bytes that a document of 4 MiB takes: received, copied to the disk, and parsed. */
const PLACE_BYTES = 16 * 2 ** 20;
/** The share of a process's memory for all places. */
const MEMORY_SHARE = 1 / 8;
const PLACES = { least: 2, most: 8 };

interface Scope {
  /** Resolves once the work has a place. */
  place?: Promise<void>;
  isOver: boolean;
  readonly signal: AbortSignal;
  readonly over: PromiseWithResolvers<void>;
}

/** @param memory bytes of memory for this process */
export function createLargeDocuments(memory: number): LargeDocuments {
  const places = Math.floor((memory * MEMORY_SHARE) / PLACE_BYTES);
  const gate = createGate(Math.min(Math.max(places, PLACES.least), PLACES.most));
  const scopes = new AsyncLocalStorage<Scope>();
  const current = (): Scope | undefined => {
    const scope = scopes.getStore();
    return scope?.isOver === false ? scope : undefined;
  };
  const occupy = (until: Promise<void>, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      gate
        .run(() => {
          resolve();
          return until;
        }, signal)
        .catch(reject);
    });

  return {
    async run(work, signal) {
      if (current() !== undefined) return work();
      const scope: Scope = { signal, isOver: false, over: Promise.withResolvers() };
      try {
        return await scopes.run(scope, work);
      } finally {
        scope.isOver = true;
        scope.over.resolve();
      }
    },
    async read(work, given) {
      const scope = current();
      const signal = given ?? scope?.signal ?? new AbortController().signal;
      if (scope === undefined) return gate.run(work, signal);
      scope.place ??= occupy(scope.over.promise, signal);
      await scope.place.catch((error: unknown) => {
        delete scope.place;
        throw error;
      });
      return work();
    },
  };
}
