import { ServiceError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isForeignLayer } from '../oci/manifest.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

/** Remembers for a short time which blobs of a registry had a different size from their manifest. */
export interface WrongSizes {
  /** Records the error of a failed read if it is `size-mismatch`. */
  note(domain: string, blob: Descriptor, error: unknown): void;
  has(domain: string, blob: Descriptor): boolean;
  forget(domain: string, blob: Descriptor): void;
}

const TTL_MS = 10 * 60_000;
/** Maximum bytes: about 3,000 blobs. */
const LIMIT = 1024 * 1024;

export function createWrongSizes(caches: MemoryCaches): WrongSizes {
  const known = caches.open<true>({ name: 'wrong-sizes', limit: LIMIT, ttl: TTL_MS });
  // The key contains the registry, so that one registry's response does not affect another.
  const keyOf = (domain: string, { digest, size }: Descriptor): string => `${domain} ${digest} ${size}`;
  return {
    note(domain, blob, error) {
      // The author of a foreign layer chooses the host that sends it, so its size proves nothing about the registry's
      // blob.
      const isOurs = error instanceof ServiceError && error.code === 'size-mismatch' && !isForeignLayer(blob);
      if (isOurs) known.set(keyOf(domain, blob), true);
    },
    has: (domain, blob) => known.get(keyOf(domain, blob)) === true,
    forget: (domain, blob) => known.delete(keyOf(domain, blob)),
  };
}
