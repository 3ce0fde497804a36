import { LRUCache } from 'lru-cache';

/** The in-memory caches of a process, in one list with the bytes that each holds. */
export interface MemoryCaches {
  /** Creates a cache and adds it to the list. */
  open<V extends object | string | true>(options: MemoryCacheOptions<V>): MemoryCache<V>;
  /** Adds memory outside these caches to the list. */
  list(holder: MemoryHolder): void;
  /** Lists the caches by name, with caches of the same name combined. */
  uses(): readonly CacheUse[];
  /** Removes expired entries, which a cache otherwise keeps until the next read. */
  purge(): void;
  /** Removes all entries, to free memory. Caches only save work, so nothing is lost. */
  clear(): void;
}

export interface MemoryCacheOptions<V> {
  /** The name in metrics, such as `image-details`. */
  readonly name: string;
  /**
   * Maximum bytes of keys and values, estimated by {@link heapBytes}. A larger value is not kept. In a process with
   * little memory, the limit is lower; see {@link cacheShareFor}.
   */
  readonly limit: number;
  /** Milliseconds until a value expires; absent if it never does. */
  readonly ttl?: number;
  /** Returns the bytes of a value; {@link heapBytes} if absent. */
  readonly weigh?: (value: V) => number;
}

/** Keeps values by string keys, and evicts the least recently used ones. */
export interface MemoryCache<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
}

/** Memory that is not a cache of entries, such as unused buffers. */
export interface MemoryHolder {
  readonly name: string;
  /** Maximum bytes. */
  readonly limit: number;
  bytes(): number;
  /** Frees the memory; absent if the memory is always in use. */
  clear?(): void;
}

/** The current use of a cache. */
export interface CacheUse {
  readonly name: string;
  readonly bytes: number;
  readonly limit: number;
}

interface Listed {
  readonly name: string;
  readonly limit: number;
  bytes(): number;
  purge(): void;
  clear(): void;
}

/** All caches together take about 120 MiB at most, which is too much for a heap in less memory than this. */
const WHOLE_SHARE_BYTES = 512 * 2 ** 20;
const LEAST_SHARE = 1 / 4;

/** Returns the share of their limits that caches have in a process with this memory, in bytes. */
export function cacheShareFor(memory: number): number {
  return Math.min(Math.max(memory / WHOLE_SHARE_BYTES, LEAST_SHARE), 1);
}

/**
 * Creates the empty list of a process.
 *
 * @param now a monotonic clock, in milliseconds
 * @param share the share of its limit that each cache has, from 0 to 1
 */
export function createMemoryCaches(now: () => number, share = 1): MemoryCaches {
  const all: Listed[] = [];
  return {
    open<V extends object | string | true>(options: MemoryCacheOptions<V>): MemoryCache<V> {
      const { name, ttl = 0, weigh = heapBytes } = options;
      const limit = Math.ceil(options.limit * share);
      const cache = new LRUCache<string, { readonly value: V }>({
        maxSize: limit,
        sizeCalculation: ({ value }, key) => ENTRY_BYTES + heapBytes(key) + weigh(value),
        ...{ ttl, ttlResolution: 0, perf: { now } },
      });
      all.push({
        ...{ name, limit },
        bytes: () => cache.calculatedSize,
        purge: () => cache.purgeStale(),
        clear: () => cache.clear(),
      });
      return {
        get: (key) => cache.get(key)?.value,
        set: (key, value) => void cache.set(key, { value }),
        delete: (key) => void cache.delete(key),
      };
    },
    list: (holder) => void all.push({ clear() {}, ...holder, purge() {} }),
    uses() {
      const byName = new Map<string, CacheUse>();
      for (const { name, limit, bytes } of all) {
        const same = byName.get(name) ?? { name, bytes: 0, limit: 0 };
        byName.set(name, { name, bytes: same.bytes + bytes(), limit: same.limit + limit });
      }
      return [...byName.values()];
    },
    purge() {
      for (const { purge } of all) purge();
    },
    clear() {
      for (const { clear } of all) clear();
    },
  };
}

/** Overhead of an entry in bytes, in addition to its key and value: its places in a map and in the LRU lists. */
const ENTRY_BYTES = 128;
const TEXT_BYTES = 24;
const OBJECT_BYTES = 32;
const FIELD_BYTES = 8;

/**
 * Estimates the bytes of a value on V8's heap: texts, lists, maps, dates and plain objects, which must not contain
 * themselves. One character outside Latin-1 makes its whole string two bytes wide.
 */
export function heapBytes(value: unknown): number {
  if (typeof value === 'string') return TEXT_BYTES + value.length * (isNarrow(value) ? 1 : 2);
  if (typeof value !== 'object' || value === null) return FIELD_BYTES;
  if (ArrayBuffer.isView(value)) return OBJECT_BYTES + value.byteLength;
  if (value instanceof Map) return heapBytes([...value].flat());
  const fields: unknown[] = Array.isArray(value) ? value : Object.values(value);
  return fields.reduce<number>((sum, field) => sum + FIELD_BYTES + heapBytes(field), OBJECT_BYTES);
}

function isNarrow(text: string): boolean {
  return !/[\u0100-\uffff]/.test(text);
}
