import { ServiceError } from '../errors.ts';
import { type Digest, referrersTag } from '../oci/digest.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oci/json.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../registry/client.ts';
import { HiddenImageError } from '../registry/status-error.ts';

/**
 * Lists the referrers of a manifest as an index, whose descriptors are unchanged. If the registry does not have such a list, reads the tag
 * that clients use instead.
 *
 * @param artifactType the type of the listed referrers; all types if undefined
 * @throws ServiceError `image-not-found` where the repository is missing or private, or what the upstream's trouble is
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#unavailable-referrers-api
 */
export async function readReferrers(
  client: RegistryClient,
  repository: Repository,
  subject: Digest,
  artifactType: string | undefined,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const listed = await client.referrers(repository, subject, signal);
  const index = listed ?? (await unlessMissing(client.manifest(repository, referrersTag(subject), signal)));
  const manifests = (index && parseJsonObject(index.bytes))?.manifests;
  const all: JsonObject[] = Array.isArray(manifests) ? manifests.filter(isJsonObject) : [];
  const fitting = all.filter((one) => artifactType === undefined || one.artifactType === artifactType);
  const list = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: fitting };
  return Buffer.from(JSON.stringify(list));
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
