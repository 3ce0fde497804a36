import type { KnownTag, ManifestStore } from './manifest-store.ts';

/** Combines the store on this machine's disk with the one that replicas share. */
export function createSharedManifestStore(own: ManifestStore, shared: ManifestStore): ManifestStore {
  return {
    async manifest(repository, digest) {
      const known = await own.manifest(repository, digest);
      if (known !== undefined) return known;
      const found = await shared.manifest(repository, digest);
      // If the local copy cannot be written, the shared one is read again next time.
      if (found !== undefined) await own.putManifest(repository, found).catch(() => {});
      return found;
    },
    async putManifest(repository, manifest) {
      await both([own.putManifest(repository, manifest), shared.putManifest(repository, manifest)]);
    },
    async tag(repository, tag) {
      const [here, there] = await Promise.all([own.tag(repository, tag), shared.tag(repository, tag)]);
      return later(here, there);
    },
    async putTag(repository, tag, known) {
      await both([own.putTag(repository, tag, known), shared.putTag(repository, tag, known)]);
    },
  };
}

function later(one: KnownTag | undefined, other: KnownTag | undefined): KnownTag | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return other.confirmed > one.confirmed ? other : one;
}

/** Waits for both writes, even if one fails. */
async function both(writes: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(writes);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
