import type { MemoryCaches } from '../util/memory-caches.ts';
import type { KeyValueStore } from './manifest-store.ts';

/** Maximum bytes of a cached manifest. */
const LARGE = 64 * 1024;
/** Maximum bytes of all cached manifests. */
const LIMIT = 4 * 2 ** 20;
/** Milliseconds until a manifest is read from the store again, so that the store sees that it is in use. */
const TTL = 60_000;

/** Maximum bytes of manifests and tags, and of one of them, without a disk cache. The largest real indexes have 200 kB. */
const [ALL_IN_MEMORY, LARGEST_IN_MEMORY] = [8 * 2 ** 20, 2 ** 20] as const;

/** Keeps manifests and tags in memory alone, for a service without a disk cache. */
export function createMemoryStore(caches: MemoryCaches): KeyValueStore {
  const kept = caches.open<Buffer>({ name: 'manifests', limit: ALL_IN_MEMORY });
  return {
    async read(kind, name) {
      return kept.get(`${kind} ${name}`);
    },
    async write(kind, name, content) {
      if (content.length <= LARGEST_IN_MEMORY) kept.set(`${kind} ${name}`, content);
    },
  };
}

/** Caches a store's manifests in memory. Manifests never change, and reading a file takes five system calls. */
export function keepingManifests(store: KeyValueStore, caches: MemoryCaches): KeyValueStore {
  const kept = caches.open<Buffer>({ name: 'manifests', limit: LIMIT, ttl: TTL });
  const keep = (name: string, content: Buffer): void => {
    if (content.length <= LARGE) kept.set(name, content);
  };
  return {
    async read(kind, name) {
      if (kind !== 'manifests') return store.read(kind, name);
      const known = kept.get(name);
      if (known !== undefined) return known;
      const content = await store.read(kind, name);
      if (content !== undefined) keep(name, content);
      return content;
    },
    async write(kind, name, content) {
      if (kind === 'manifests') keep(name, content);
      await store.write(kind, name, content);
    },
  };
}
