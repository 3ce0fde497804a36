import type { MemoryCaches } from '../memory-caches.ts';
import type { Shelf } from './manifest-store.ts';

/** Bytes of the largest manifest that is kept. */
const LARGE = 64 * 1024;
/** Bytes of all manifests together. */
const LIMIT = 4 * 2 ** 20;
/** Milliseconds, after which the shelf is read again, so that it notes which manifests are in use. */
const TTL = 60_000;

/** Keeps manifests of a shelf in memory, which never change: a file takes five calls of the operating system. */
export function keepingManifests(shelf: Shelf, caches: MemoryCaches): Shelf {
  const kept = caches.open<Buffer>({ name: 'manifests', limit: LIMIT, ttl: TTL });
  const keep = (name: string, content: Buffer): void => {
    if (content.length <= LARGE) kept.set(name, content);
  };
  return {
    async read(kind, name) {
      if (kind !== 'manifests') return shelf.read(kind, name);
      const known = kept.get(name);
      if (known !== undefined) return known;
      const content = await shelf.read(kind, name);
      if (content !== undefined) keep(name, content);
      return content;
    },
    async write(kind, name, content) {
      if (kind === 'manifests') keep(name, content);
      await shelf.write(kind, name, content);
    },
  };
}
