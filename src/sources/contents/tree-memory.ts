import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { MemoryCaches } from '../../util/memory-caches.ts';

/** The memory budget of a process for the file trees of images in use. */
export interface TreeMemory {
  /** Maximum bytes. */
  readonly limit: number;
  /**
   * Counts a tree until a request ends. A tree that several requests use counts once, and once for each of their clients.
   *
   * @param key names the tree
   * @param bytes the size of the tree
   * @param client holds at most half of the budget, so that others have the rest; undefined holds any share
   * @param over aborts when the request ends for any reason
   * @throws ServiceError `overloaded` if the budget, or the client's half of it, is used up
   */
  hold(key: string, bytes: number, client: string | undefined, over: AbortSignal): void;
}

interface Held {
  readonly bytes: number;
  /** Requests in flight, by client. */
  readonly requests: Map<string | undefined, number>;
}

/** Bytes; the tree of 300,000 files takes 35 MB. */
const LIMITS = { least: 64 * 2 ** 20, most: 512 * 2 ** 20 };
const MEMORY_SHARE = 1 / 4;
const SHARE_OF_CLIENT = 0.5;
const RETRY_AFTER_S = 10;

/** Returns the limit for a process with this memory, both in bytes. */
export function treeLimitFor(memory: number): number {
  return Math.min(Math.max(Math.floor(memory * MEMORY_SHARE), LIMITS.least), LIMITS.most);
}

/** @param limit bytes */
export function createTreeMemory(caches: MemoryCaches, limit: number): TreeMemory {
  const trees = new Map<string, Held>();
  const shares = new Map<string | undefined, number>();
  let used = 0;
  caches.list({ name: 'file-trees-in-use', limit, bytes: () => used });

  return {
    limit,
    hold(key, bytes, client, over) {
      over.throwIfAborted();
      const held = trees.get(key) ?? { bytes, requests: new Map() };
      const more = held.requests.has(client) ? 0 : held.bytes;
      const share = shares.get(client) ?? 0;
      // A client without other trees may use one that is larger than its half.
      if (client !== undefined && share > 0 && share + more > limit * SHARE_OF_CLIENT) throw usedUp();
      if (held.requests.size === 0) {
        if (used + held.bytes > limit) throw usedUp();
        used += held.bytes;
        trees.set(key, held);
      }
      shares.set(client, share + more);
      held.requests.set(client, (held.requests.get(client) ?? 0) + 1);
      const release = (): void => {
        const left = (held.requests.get(client) ?? 0) - 1;
        if (left > 0) return void held.requests.set(client, left);
        held.requests.delete(client);
        const rest = (shares.get(client) ?? 0) - held.bytes;
        if (rest > 0) shares.set(client, rest);
        else shares.delete(client);
        if (held.requests.size > 0) return;
        trees.delete(key);
        used -= held.bytes;
      };
      over.addEventListener('abort', release, { once: true });
    },
  };
}

function usedUp(): ServiceError {
  return new ServiceError('overloaded', detail('memory-files', {}), { retryAfter: RETRY_AFTER_S });
}
