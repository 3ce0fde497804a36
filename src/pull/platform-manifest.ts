import { isImageEntry } from '../oci/manifest.ts';
import { type Platform, selectPlatform } from '../oci/platform.ts';
import { digestReference, type Reference } from '../oci/reference.ts';
import type { FetchedManifest } from '../registry/client.ts';
import { parsing } from '../sources/documents.ts';
import { linksOf } from './manifest-gate.ts';
import type { PullRequest, PullSource } from './pull-source.ts';

/**
 * Fetches the image of a platform from an index, for clients that know no index; the index itself if it has no such image.
 *
 * @throws ServiceError as {@link PullSource.manifest} does
 */
export async function platformManifest(
  source: PullSource,
  reference: Reference,
  index: FetchedManifest,
  platform: Platform,
  request: PullRequest,
): Promise<FetchedManifest> {
  const links = linksOf(parsing, index);
  const images = links?.kind === 'index' ? links.manifests.filter(isImageEntry) : [];
  const chosen = selectPlatform(platform, images, (image) => image.platform);
  if (chosen === undefined) return index;
  return source.manifest(digestReference(reference, chosen.digest), request);
}
