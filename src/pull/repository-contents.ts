import { createHash } from 'node:crypto';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { parseJsonObject } from '../oci/json.ts';
import type { Repository } from '../oci/reference.ts';
import type { KeyValueStore } from '../registry/manifest-store.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

/** A repository, and the signature requirement that applied to it when contents were found in it. */
export interface Place {
  readonly repository: Repository;
  /** The keys that sign the manifests; empty if no signature is required. */
  readonly signers: string;
}

/**
 * The relation of a digest to a place. A manifest names it as a `blob`, or a signed index names it as a `manifest`. A
 * `companion` is, for example, a signature. A companion could otherwise make a manifest pass by naming it as its layer.
 */
export type ContentKind = 'blob' | 'manifest' | 'companion';

/** A descriptor as far as a blob is read by it. */
export type Content = Pick<Descriptor, 'digest' | 'size' | 'mediaType' | 'urls'>;

/** Remembers which contents belong to which repositories. The next manifest restores an entry that was lost. */
export interface RepositoryContents {
  add(place: Place, kind: ContentKind, contents: readonly Content[]): Promise<void>;
  find(place: Place, kind: ContentKind, digest: Digest): Promise<Content | undefined>;
}

/** Bytes, enough for about fifteen thousand layers. */
const LIMIT = 8 * 2 ** 20;

/**
 * @param stores shared with other processes and replicas, the nearest first
 * @param caches the list to which the cache in memory is added
 */
export function createRepositoryContents(
  stores: readonly KeyValueStore[],
  caches: MemoryCaches,
): RepositoryContents {
  const known = caches.open<Content>({ name: 'repository-contents', limit: LIMIT });

  const write = async (name: string, content: Content): Promise<void> => {
    const bytes = Buffer.from(JSON.stringify(content));
    // Without it, another process asks the registry.
    await Promise.allSettled(stores.map((store) => store.write('contents', name, bytes)));
  };

  return {
    async add(place, kind, contents) {
      // The newest manifest wins, so that one with a wrong size does not break the pulls of all others.
      const fresh = contents.filter(
        ({ digest, size }) => known.get(keyOf(place, kind, digest))?.size !== size,
      );
      await Promise.all(
        fresh.map(({ digest, size, mediaType, urls }) => {
          const content = { digest, size, mediaType, ...(urls && { urls }) };
          const key = keyOf(place, kind, digest);
          known.set(key, content);
          return write(nameOf(key), content);
        }),
      );
    },

    async find(place, kind, digest) {
      const key = keyOf(place, kind, digest);
      const held = known.get(key);
      if (held !== undefined) return held;
      for (const store of stores) {
        const content = contentIn(await store.read('contents', nameOf(key)), digest);
        if (content === undefined) continue;
        known.set(key, content);
        return content;
      }
      return undefined;
    },
  };
}

function contentIn(bytes: Buffer | undefined, digest: Digest): Content | undefined {
  const { digest: stored, size, mediaType, urls } = (bytes && parseJsonObject(bytes)) ?? {};
  if (!isDigest(stored) || stored !== digest || typeof mediaType !== 'string') return undefined;
  if (typeof size !== 'number' || !Number.isSafeInteger(size)) return undefined;
  return { digest, size, mediaType, ...(Array.isArray(urls) && { urls: urls.map(String) }) };
}

function keyOf({ repository: { domain, path }, signers }: Place, kind: ContentKind, digest: Digest): string {
  return `${domain}/${path}\n${signers}\n${kind}\n${digest}`;
}

function nameOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}
