import type { BlobCache } from '../blobs/blob-cache.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import type { Repository } from '../oci/reference.ts';
import { createSingleFlight } from '../single-flight.ts';
import type { FetchedManifest, RegistryClient } from './client.ts';
import type { ManifestStore } from './manifest-store.ts';
import { isOutage } from './status-error.ts';

export interface CachingClientOptions {
  readonly client: RegistryClient;
  readonly blobs: BlobCache;
  readonly manifests: ManifestStore;
  /** Milliseconds for which a tag's last answer stands in for a registry that gives none (as in RFC 5861). */
  readonly staleIfError: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Milliseconds that a registry has to say what a tag points at, where an older answer could stand in. */
const PATIENCE_MS = 5_000;

/**
 * Puts memory before a registry client. A manifest is fetched once for each digest and repository. A tag costs a HEAD,
 * which Docker Hub does not count as a pull; the first time, when a HEAD could only be followed by a GET, just that.
 *
 * @see https://docs.docker.com/docker-hub/usage/pulls/
 */
export function createCachingClient(options: CachingClientOptions): RegistryClient {
  const { client, blobs, manifests, staleIfError, now } = options;
  const share = createSingleFlight<FetchedManifest>();

  const fetch = async (
    repository: Repository,
    reference: string,
    signal: AbortSignal,
  ): Promise<FetchedManifest> => {
    const fetched = await client.manifest(repository, reference, signal);
    // Without it, the next request fetches it again: no reason to fail this one.
    await manifests.putManifest(repository, fetched).catch(() => {});
    return fetched;
  };

  const byDigest = async (
    repository: Repository,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<FetchedManifest> =>
    (await manifests.manifest(repository, digest)) ?? (await fetch(repository, digest, signal));

  const byTag = async (
    repository: Repository,
    tag: string,
    signal: AbortSignal,
  ): Promise<FetchedManifest> => {
    const known = await manifests.tag(repository, tag);
    const kept = known && (await manifests.manifest(repository, known.digest));
    if (known === undefined || kept === undefined)
      return confirmed(repository, tag, await fetch(repository, tag, signal));
    try {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
      const digest = await client.resolveTag(repository, tag, patience);
      if (digest === kept.digest) return await confirmed(repository, tag, kept);
      const moved =
        digest === undefined ? fetch(repository, tag, signal) : byDigest(repository, digest, signal);
      return await confirmed(repository, tag, await moved);
    } catch (error) {
      if (!isOutage(error) || now() - known.confirmed >= staleIfError) throw error;
      return { ...kept, staleSince: known.confirmed };
    }
  };

  const confirmed = async (
    repository: Repository,
    tag: string,
    manifest: FetchedManifest,
  ): Promise<FetchedManifest> => {
    await manifests.putTag(repository, tag, { digest: manifest.digest, confirmed: now() }).catch(() => {});
    return manifest;
  };

  return {
    ...client,
    manifest(repository, reference, signal) {
      const key = `${repository.domain}/${repository.path} ${reference}`;
      const work = (shared: AbortSignal): Promise<FetchedManifest> =>
        isDigest(reference) ? byDigest(repository, reference, shared) : byTag(repository, reference, shared);
      return share(key, work, signal);
    },
    blobs: (repository) => blobs.before(client.blobs(repository), repository.domain),
  };
}
