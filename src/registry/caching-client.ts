import { isOutage } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import type { Repository } from '../oci/reference.ts';
import { createLargeDocuments, type LargeDocuments } from '../util/large-documents.ts';
import type { Locks } from '../util/lock.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { createSingleFlight } from '../util/single-flight.ts';
import type { DescribedManifest, DescribingClient, FetchedManifest, RegistryClient } from './client.ts';
import { described, describing } from './describing-client.ts';
import type { KnownTag, ManifestStore } from './manifest-store.ts';
import { isVerdict } from './status-error.ts';
import { isRefusedSpending } from './upstream-budget.ts';

export interface CachingClientOptions {
  readonly client: RegistryClient;
  /** Shares or stores the blobs of a registry, or of one of its repositories. */
  readonly blobs: { before(source: BlobReader, registry: string, path: string): BlobReader };
  readonly manifests: ManifestStore;
  /** Milliseconds for which a tag's last answer is used while its registry fails (as in RFC 5861). */
  readonly staleIfError: number;
  /** Milliseconds for which a resolved tag is used without a request. */
  readonly tagTtl: number;
  /** Lets one of several processes send a request, whose response the others share. */
  readonly locks: Locks;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Bounds the large manifests that are read and stored at once; its own if absent. */
  readonly large?: LargeDocuments;
  /** The list to which its cache is added. */
  readonly caches?: MemoryCaches;
}

/** Milliseconds that a registry may take to resolve a tag if an older result is available. */
const PATIENCE_MS = 5_000;
/** Milliseconds by which the clocks of replicas may differ. */
const MOST_SKEW_MS = 5_000;
/** Maximum bytes of one manifest of a tag in memory, and of all of them. */
const [RECENT_MAX, RECENT_LIMIT] = [64 * 1024, 4 * 2 ** 20] as const;
/** Milliseconds until the manifest of a tag is read from the store again, so that the store sees that it is in use. */
const RECENT_MS = 60_000;
/** Minimum milliseconds between two writes of the time at which a tag was confirmed. */
const SAVE_MS = 1_000;

/**
 * Puts a memory cache before a registry client. A manifest is fetched once for each digest and repository. A tag costs
 * a HEAD, which Docker Hub does not count as a pull. The first request for a tag is a GET, because it would follow the
 * HEAD anyway.
 *
 * @see https://docs.docker.com/docker-hub/usage/pulls/
 */
export function createCachingClient(options: CachingClientOptions): DescribingClient {
  const { client, blobs, manifests, staleIfError, tagTtl, locks, now } = options;
  const { large = createLargeDocuments(0), caches = createMemoryCaches(() => performance.now()) } = options;
  const share = createSingleFlight<FetchedManifest>(isRefusedSpending);
  const shareDescription = createSingleFlight<DescribedManifest>(isRefusedSpending);

  /** Tags as this process last confirmed them. Reading and writing their files would cost more than the request. */
  const recent = caches.open<Recent>({
    ...{ name: 'recent-tags', limit: RECENT_LIMIT, ttl: RECENT_MS },
    weigh: ({ manifest }) => RECENT_BYTES + manifest.bytes.length,
  });

  const fetch = async (
    repository: Repository,
    reference: string,
    signal: AbortSignal,
  ): Promise<FetchedManifest> => {
    const fetched = await client.manifest(repository, reference, signal);
    // If the store fails, the next request fetches the manifest again. This request must not fail.
    await manifests.putManifest(repository, fetched).catch(() => {});
    return fetched;
  };

  const alone = async <T>(name: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> => {
    using _lock = await locks.wait(name, signal);
    return await work();
  };

  const byDigest = async (
    repository: Repository,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<FetchedManifest> => {
    const find = (): Promise<FetchedManifest | undefined> => manifests.manifest(repository, digest);
    const work = async (): Promise<FetchedManifest> =>
      (await find()) ?? (await fetch(repository, digest, signal));
    return (await find()) ?? (await alone(keyOf(repository, digest), work, signal));
  };

  const remember = async (repository: Repository, tag: string): Promise<Remembered | undefined> => {
    const known = await manifests.tag(repository, tag);
    const manifest = known && (await manifests.manifest(repository, known.digest));
    return manifest && { manifest, confirmed: known.confirmed };
  };

  const isNew = ({ confirmed }: Pick<KnownTag, 'confirmed'>): boolean =>
    confirmed > now() - tagTtl && confirmed < now() + MOST_SKEW_MS;

  const byTag = async (
    repository: Repository,
    tag: string,
    signal: AbortSignal,
  ): Promise<FetchedManifest> => {
    const own = recent.get(keyOf(repository, tag));
    // Another process may have confirmed the tag later. Without a TTL, this request asks the registry anyway.
    const known = own !== undefined && (tagTtl === 0 || isNew(own)) ? own : await remember(repository, tag);
    if (known !== undefined && isNew(known)) return known.manifest;
    if (known !== undefined && tagTtl === 0) return confirm(repository, tag, known, signal);
    const work = async (): Promise<FetchedManifest> => {
      const learned = await remember(repository, tag);
      if (learned === undefined) return confirmed(repository, tag, await fetch(repository, tag, signal));
      return isNew(learned) ? learned.manifest : confirm(repository, tag, learned, signal);
    };
    return alone(keyOf(repository, tag), work, signal);
  };

  const confirm = async (
    repository: Repository,
    tag: string,
    known: Remembered,
    signal: AbortSignal,
  ): Promise<FetchedManifest> => {
    try {
      const kept = known.manifest;
      const current = (await byHead(repository, tag, kept, signal)) ?? (await fetch(repository, tag, signal));
      return await confirmed(repository, tag, current);
    } catch (error) {
      if (!isOutage(error)) throw error;
      const { manifest: kept, confirmed: last } = later(known, await remember(repository, tag));
      if (now() - last >= staleIfError) throw error;
      return { ...kept, staleSince: last };
    }
  };

  /**
   * Resolves a tag by HEAD. Undefined if only a GET can resolve it, because the registry refuses HEAD, states no
   * digest, or states a digest that it does not have.
   */
  const byHead = async (
    repository: Repository,
    tag: string,
    kept: FetchedManifest,
    signal: AbortSignal,
  ): Promise<FetchedManifest | undefined> => {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    const head = await client.head(repository, tag, patience).catch((error: unknown) => {
      if (isVerdict(error)) throw error;
      return undefined;
    });
    const digest = head?.digest;
    if (digest === undefined || digest === kept.digest) return digest && kept;
    return byDigest(repository, digest, signal).catch((error: unknown) => {
      if (isVerdict(error) || isOutage(error)) throw error;
      return undefined;
    });
  };

  const putTag = (repository: Repository, tag: string, { digest }: Pick<FetchedManifest, 'digest'>) =>
    manifests.putTag(repository, tag, { digest, confirmed: now() }).catch(() => {});

  const confirmed = async (
    repository: Repository,
    tag: string,
    manifest: FetchedManifest,
  ): Promise<FetchedManifest> => {
    const key = keyOf(repository, tag);
    const own = recent.get(key);
    const isSame = own?.manifest.digest === manifest.digest;
    if (isSame) own.confirmed = now();
    else if (manifest.bytes.length <= RECENT_MAX)
      recent.set(key, { manifest, confirmed: now(), saved: now() });
    if (isSame && Math.abs(now() - own.saved) < SAVE_MS) return manifest;
    if (isSame) own.saved = now();
    await putTag(repository, tag, manifest);
    return manifest;
  };

  const manifest: RegistryClient['manifest'] = (repository, reference, signal) => {
    const work = (shared: AbortSignal): Promise<FetchedManifest> =>
      isDigest(reference) ? byDigest(repository, reference, shared) : byTag(repository, reference, shared);
    const bounded = (shared: AbortSignal): Promise<FetchedManifest> => large.run(() => work(shared), shared);
    return share(keyOf(repository, reference), bounded, signal);
  };
  const upstream = describing({ ...client, manifest });

  const describe = async (
    repository: Repository,
    reference: string,
    signal: AbortSignal,
  ): Promise<DescribedManifest> => {
    if (isDigest(reference)) {
      const known = await manifests.manifest(repository, reference);
      return known ? described(known) : upstream.describe(repository, reference, signal);
    }
    const known = await remember(repository, reference);
    const ask = async (ended: AbortSignal): Promise<DescribedManifest> => {
      const found = await upstream.describe(repository, reference, ended);
      if (found.staleSince === undefined) await putTag(repository, reference, found);
      return found;
    };
    if (known === undefined) return ask(signal);
    if (isNew(known)) return described(known.manifest);
    const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    try {
      return await ask(patience);
    } catch (error) {
      signal.throwIfAborted();
      const isOver = isOutage(error) || patience.aborted;
      if (!isOver || now() - known.confirmed >= staleIfError) throw error;
      return { ...described(known.manifest), staleSince: known.confirmed };
    }
  };

  return {
    ...client,
    manifest,
    describe: (repository, reference, signal) =>
      shareDescription(
        keyOf(repository, reference),
        (shared) => large.run(() => describe(repository, reference, shared), shared),
        signal,
      ),
    blobs: (repository) => blobs.before(client.blobs(repository), repository.domain, repository.path),
  };
}

/** The last known digest of a tag. */
interface Remembered extends Pick<KnownTag, 'confirmed'> {
  readonly manifest: FetchedManifest;
}

/** A tag as this process last confirmed it. */
interface Recent {
  readonly manifest: FetchedManifest;
  confirmed: number;
  /** Milliseconds since the epoch of the last write to the store. */
  saved: number;
}

/** Estimated bytes of an entry without its manifest. */
const RECENT_BYTES = 200;

/** Another process may have confirmed a tag later than this one. */
function later(known: Remembered, stored: Remembered | undefined): Remembered {
  return stored !== undefined && stored.confirmed > known.confirmed ? stored : known;
}

function keyOf({ domain, path }: Repository, reference: string): string {
  return `${domain}/${path} ${reference}`;
}
