import { ServiceError } from '../errors.ts';
import { type Digest, isDigest, referrersTag } from '../oci/digest.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oci/json.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../registry/client.ts';
import { MirrorsAloneError } from '../registry/mirroring-client.ts';
import { HiddenImageError } from '../registry/status-error.ts';

/** Maximum manifests that are read to complete one list, and their bytes. Further descriptors stay unchanged. */
const COMPLETED_MAX = 16;
const COMPLETED_BYTES_MAX = 4 * 2 ** 20;

/**
 * Lists the referrers of a manifest as an index. A registry's own list has unchanged descriptors. A registry without such a
 * list has a tag that clients maintain instead. Its descriptors without a type are completed.
 *
 * @param artifactTypes the types of the listed referrers, empty for those without a type; all types if undefined
 * @throws ServiceError `image-not-found` if the repository is missing or private, or an error of the upstream
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#unavailable-referrers-api
 */
export async function readReferrers(
  client: RegistryClient,
  repository: Repository,
  subject: Digest,
  artifactTypes: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const read = (reference: string): Promise<FetchedManifest | undefined> =>
    unlessMissing(client.manifest(repository, reference, signal));
  const listed = await client.referrers(repository, subject, signal).catch((error: unknown) => {
    // The only reachable mirror has no list. It may still have the tag.
    if (error instanceof MirrorsAloneError) return undefined;
    throw error;
  });
  const all =
    listed === undefined
      ? await completed(entriesOf(await read(referrersTag(subject))), read)
      : entriesOf(listed);
  const fitting = all.filter(
    ({ artifactType: type }) => artifactTypes?.includes(isText(type) ? type : '') ?? true,
  );
  return indexOf(fitting);
}

/** Writes an index of descriptors. */
export function indexOf(manifests: readonly JsonObject[]): Uint8Array {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }));
}

function entriesOf(index: FetchedManifest | undefined): JsonObject[] {
  const manifests = (index && parseJsonObject(index.bytes))?.manifests;
  return Array.isArray(manifests) ? manifests.filter(isJsonObject) : [];
}

/**
 * Adds the artifact type and the annotations of their manifests to descriptors without a type.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
async function completed(
  entries: readonly JsonObject[],
  read: (digest: Digest) => Promise<FetchedManifest | undefined>,
): Promise<JsonObject[]> {
  const result: JsonObject[] = [];
  let reads = 0;
  let bytes = 0;
  for (const entry of entries) {
    const { digest, artifactType } = entry;
    const mayRead = reads < COMPLETED_MAX && bytes < COMPLETED_BYTES_MAX;
    if (!mayRead || isText(artifactType) || !isDigest(digest)) {
      result.push(entry);
      continue;
    }
    // A missing manifest counts, too: a list of an old tag can name many.
    reads += 1;
    const manifest = await read(digest);
    bytes += manifest?.bytes.length ?? 0;
    result.push(manifest === undefined ? entry : describedBy(manifest, entry));
  }
  return result;
}

function describedBy({ bytes }: FetchedManifest, entry: JsonObject): JsonObject {
  const { artifactType, config, annotations = entry.annotations } = parseJsonObject(bytes) ?? {};
  const type = [artifactType, isJsonObject(config) && config.mediaType].find(isText);
  return { ...entry, artifactType: type, annotations };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

async function unlessMissing(work: Promise<FetchedManifest>): Promise<FetchedManifest | undefined> {
  try {
    return await work;
  } catch (error) {
    // A registry that hides the repository says nothing about the tag.
    if (error instanceof HiddenImageError) throw error;
    if (error instanceof ServiceError && error.code === 'image-not-found') return undefined;
    throw error;
  }
}
