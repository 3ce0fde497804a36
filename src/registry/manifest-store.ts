import { createHash } from 'node:crypto';
import { type Digest, digestHash, finishDigest, isDigest } from '../oci/digest.ts';
import { parseJsonObject } from '../oci/json.ts';
import type { Repository } from '../oci/reference.ts';
import type { FetchedManifest } from './client.ts';

/** The digest of a tag at the last request to its registry. */
export interface KnownTag {
  readonly digest: Digest;
  /** Milliseconds since the epoch. */
  readonly confirmed: number;
}

/**
 * Stores manifests and tags by repository, so that a repository never serves the manifest of another one. Lost or
 * damaged entries count as missing.
 */
export interface ManifestStore {
  manifest(repository: Repository, digest: Digest): Promise<FetchedManifest | undefined>;
  putManifest(repository: Repository, manifest: FetchedManifest): Promise<void>;
  tag(repository: Repository, tag: string): Promise<KnownTag | undefined>;
  putTag(repository: Repository, tag: string, known: KnownTag): Promise<void>;
}

/** The storage of a manifest store, by names of 64 hex digits that need no escaping. */
export interface KeyValueStore {
  /** Undefined if the entry is missing or unreadable. */
  read(kind: StoreKind, name: string): Promise<Buffer | undefined>;
  write(kind: StoreKind, name: string, content: Buffer): Promise<void>;
}

export type StoreKind = 'manifests' | 'tags' | 'contents';

/**
 * Writes a manifest as its media type, a line feed and its bytes, which are verified when they are read; a tag as
 * `{"digest": "sha256:…", "confirmed": 1795472635262}`.
 */
export function createManifestStore(store: KeyValueStore): ManifestStore {
  return {
    async manifest(repository, digest) {
      const content = await store.read('manifests', nameOf(repository, digest));
      const end = content?.indexOf('\n') ?? -1;
      if (content === undefined || end === -1) return undefined;
      const bytes = content.subarray(end + 1);
      if (finishDigest(digestHash(digest).update(bytes), digest) !== digest) return undefined;
      return { bytes, digest, contentType: content.toString('utf8', 0, end) || undefined };
    },

    async putManifest(repository, { bytes, digest, contentType = '' }) {
      const head = Buffer.from(`${contentType.replaceAll('\n', ' ')}\n`);
      await store.write('manifests', nameOf(repository, digest), Buffer.concat([head, bytes]));
    },

    async tag(repository, tag) {
      const content = await store.read('tags', nameOf(repository, tag));
      const known = content && parseJsonObject(content);
      if (!isDigest(known?.digest) || typeof known.confirmed !== 'number') return undefined;
      return { digest: known.digest, confirmed: known.confirmed };
    },

    async putTag(repository, tag, known) {
      await store.write('tags', nameOf(repository, tag), Buffer.from(JSON.stringify(known)));
    },
  };
}

function nameOf({ domain, path }: Repository, reference: string): string {
  return createHash('sha256').update(`${domain}/${path}\n${reference}`).digest('hex');
}
