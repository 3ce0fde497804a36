import { createSharedBlobs } from '../blobs/shared-blobs.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import { createCachingClient } from '../registry/caching-client.ts';
import { checkedBlobs } from '../registry/checked-blobs.ts';
import {
  type BorrowedCredential,
  type ClientCredential,
  createBorrowedCredential,
} from '../registry/client-credential.ts';
import type { CredentialStore } from '../registry/credentials.ts';
import { rememberingBlobs } from '../registry/known-blobs.ts';
import { placingLargeMetadata } from '../registry/large-metadata.ts';
import { createManifestStore } from '../registry/manifest-store.ts';
import { createMemoryStore } from '../registry/memory-store.ts';
import { keepingSmallBlobs } from '../registry/small-blobs.ts';
import { clientCredentialsRefused, credentialsRefused } from '../registry/status-error.ts';
import { createCachedInspector } from '../sources/cached-catalogue.ts';
import { storingNothing } from '../sources/contents/table-store.ts';
import { suggestingInspector, suggestingSource } from '../sources/tag-suggestions.ts';
import type { LargeDocuments } from '../util/large-documents.ts';
import { createLocks, NO_LOCK } from '../util/lock.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { createArchiveHashes } from './archive-hashes.ts';
import type { FindView, ImageFaces } from './private-dispatch.ts';
import type { Registries } from './registries.ts';
import { openRegistryImages, type RegistryImagesParts } from './registry-images.ts';

export interface PrivateViewsOptions {
  /** The limits that all views and anonymous requests share. */
  readonly shares: Pick<
    RegistryImagesParts,
    'config' | 'policy' | 'budgets' | 'inline' | 'memory' | 'gate' | 'now'
  >;
  readonly upstream: Pick<Registries, 'clientWith'>;
  /** The credentials of the operator, for other registries than that of the client's credentials. */
  readonly credentials: CredentialStore;
  readonly large: LargeDocuments;
  /** Milliseconds for which a tag's last answer is as good as a new one. */
  readonly tagTtl: number;
  /** Reads the blobs of public images that are stored, before a reader. */
  readonly stored: (reader: BlobReader) => BlobReader;
  /** The list of in-memory caches. */
  readonly caches: MemoryCaches;
}

/** The views of the clients that bring credentials. */
export interface PrivateViews {
  readonly find: FindView;
  /** Drops all views. Requests in progress keep theirs. */
  clear(): void;
}

interface View {
  readonly faces: ImageFaces;
  readonly holder: BorrowedCredential;
  readonly caches: MemoryCaches;
  readonly timer: NodeJS.Timeout;
}

/** Milliseconds from the first request to the last one, so that access that a registry revokes ends soon. */
const LIFETIME_MS = 5 * 60_000;
const VIEWS_MAX = 16;
/** Maximum bytes of the caches of all views, which together are as large as those of anonymous requests. */
const CACHES_LIMIT = 128 * 2 ** 20;

/**
 * Creates a view of the registries for each credential, with caches of its own in memory. Caches that clients share would
 * need the credential in every key, and one forgotten key would open an image to others. A view writes nothing to the disk
 * or to Redis.
 */
export function createPrivateViews(options: PrivateViewsOptions): PrivateViews {
  const { shares, upstream, credentials, large, tagTtl, stored } = options;
  const views = new Map<string, View>();
  const requests = createSharedBlobs(options.caches);

  const drop = (key: string): void => {
    clearTimeout(views.get(key)?.timer);
    views.delete(key);
  };
  const clear = (): void => {
    for (const key of [...views.keys()]) drop(key);
  };
  options.caches.list({
    name: 'private-images',
    limit: CACHES_LIMIT,
    bytes: () =>
      [...views.values()].flatMap((view) => view.caches.uses()).reduce((sum, use) => sum + use.bytes, 0),
    clear,
  });

  const open = ({ registry, key }: ClientCredential): View => {
    const caches = createMemoryCaches(shares.now, 1 / VIEWS_MAX);
    const holder = createBorrowedCredential(registry, credentials);
    const refused: Parameters<Registries['clientWith']>[2] = (repository, found, body) =>
      repository.domain === registry && found.kind === 'password'
        ? clientCredentialsRefused(repository, found, body)
        : credentialsRefused(repository);
    const direct = placingLargeMetadata(upstream.clientWith(holder, caches, refused), large);
    const caching = createCachingClient({
      client: keepingSmallBlobs({ client: direct, caches }),
      blobs: {
        before(source, domain, path) {
          // Two clients share a request only if they have the same credentials.
          const shared = requests.before(source, `${key} ${domain}`, path);
          return checkedBlobs(stored(shared), source, { domain, path }, direct);
        },
      },
      manifests: createManifestStore(createMemoryStore(caches)),
      // An answer from memory must not outlive the access that it was given for.
      ...{ staleIfError: 0, tagTtl, now: Date.now, large, caches },
      locks: createLocks(async () => NO_LOCK, shares.now),
    });
    const images = openRegistryImages({
      ...{ ...shares, caches, stores: [], tables: storingNothing },
      locks: { take: async () => NO_LOCK },
      hashes: createArchiveHashes(undefined, caches),
      client: shares.budgets.charge(rememberingBlobs({ client: caching, caches })),
    });
    const brief = createCachedInspector({ catalogue: images.inspector, now: shares.now, caches });
    return {
      ...{ holder, caches },
      faces: {
        source: suggestingSource(images.source, brief.tags),
        files: images.files,
        catalogue: suggestingInspector(brief),
        referrers: images.referrers,
        pulls: images.pulls,
      },
      timer: setTimeout(() => drop(key), LIFETIME_MS).unref(),
    };
  };

  return {
    clear,
    find(credential, signal) {
      const { key } = credential;
      const view = views.get(key) ?? open(credential);
      // The order of the map is that of use.
      views.delete(key);
      views.set(key, view);
      const [oldest] = views.keys();
      if (views.size > VIEWS_MAX && oldest !== undefined) drop(oldest);
      view.holder.borrow(credential, signal);
      return view.faces;
    },
  };
}
