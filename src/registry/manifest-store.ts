import { createHash } from 'node:crypto';
import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Room } from '../blobs/room.ts';
import { type Digest, digestHash, finishDigest, isDigest } from '../oci/digest.ts';
import { parseJsonObject } from '../oci/json.ts';
import type { Repository } from '../oci/reference.ts';
import { replaceFile } from '../replace-file.ts';
import type { FetchedManifest } from './client.ts';

/** What a tag pointed at when its registry was last asked. */
export interface KnownTag {
  readonly digest: Digest;
  /** Milliseconds since the epoch. */
  readonly confirmed: number;
}

/**
 * Remembers manifests and tags by repository, so that nobody gets one through a repository that does not have it. What
 * is lost or damaged is as if it had never been there.
 */
export interface ManifestStore {
  manifest(repository: Repository, digest: Digest): Promise<FetchedManifest | undefined>;
  putManifest(repository: Repository, manifest: FetchedManifest): Promise<void>;
  tag(repository: Repository, tag: string): Promise<KnownTag | undefined>;
  putTag(repository: Repository, tag: string, known: KnownTag): Promise<void>;
}

/** Bytes. */
const LARGE = 64 * 1024;

/**
 * Keeps them in files beside the blobs, with names that tell nothing and need no escaping:
 *
 *     manifests/0c/0c1d…    the media type, a line feed, the manifest
 *     tags/5e/5eaf…         {"digest": "sha256:…", "confirmed": 1795472635262}
 *
 * @param reserve makes room for so many bytes; false where there can be none
 */
export function createManifestStore(
  folder: string,
  reserve: Room['reserve'] = async () => true,
): ManifestStore {
  const pathOf = (kind: 'manifests' | 'tags', { domain, path }: Repository, reference: string): string => {
    const name = createHash('sha256').update(`${domain}/${path}\n${reference}`).digest('hex');
    return join(folder, kind, name.slice(0, 2), name);
  };
  return {
    async manifest(repository, digest) {
      const content = await readIfThere(pathOf('manifests', repository, digest));
      const end = content?.indexOf('\n') ?? -1;
      if (content === undefined || end === -1) return undefined;
      const bytes = content.subarray(end + 1);
      if (finishDigest(digestHash(digest).update(bytes), digest) !== digest) return undefined;
      return { bytes, digest, contentType: content.toString('utf8', 0, end) || undefined };
    },

    async putManifest(repository, { bytes, digest, contentType = '' }) {
      // Most are far smaller, and no download waits for their room; those of the largest size could fill a disk.
      if (bytes.length > LARGE && !(await reserve(bytes.length, async () => {}))) return;
      const head = Buffer.from(`${contentType.replaceAll('\n', ' ')}\n`);
      await replaceFile(pathOf('manifests', repository, digest), Buffer.concat([head, bytes]));
    },

    async tag(repository, tag) {
      const content = await readIfThere(pathOf('tags', repository, tag));
      const known = content && parseJsonObject(content);
      if (!isDigest(known?.digest) || typeof known.confirmed !== 'number') return undefined;
      return { digest: known.digest, confirmed: known.confirmed };
    },

    async putTag(repository, tag, known) {
      await replaceFile(pathOf('tags', repository, tag), Buffer.from(JSON.stringify(known)));
    },
  };
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    const content = await readFile(path);
    const now = new Date();
    await utimes(path, now, now);
    return content;
  } catch {
    return undefined;
  }
}
