import { DEFAULT_FORMAT } from '../archive/format.ts';
import { formatPlatform } from '../oci/platform.ts';
import { formatPlatformChoice, isSeveral } from '../oci/platform-choice.ts';
import {
  familiarName,
  familiarReference,
  formatReference,
  type Reference,
  taggedName,
} from '../oci/reference.ts';
import type { Archive, LiveArchive } from '../sources/image-source.ts';
import type { ArchiveQuery } from './query.ts';
import type { DownloadQuery } from './url.ts';

/**
 * Returns the query that names an archive by the digests of its images, even after its tags move. It names a delta by
 * the layers that the receiver has. The omitted layers depend on the order of those.
 */
export function digestQuery(
  { references, have, platform: choice, ...shared }: ArchiveQuery,
  { digests, upstream = digests, omitted, platform }: Archive | LiveArchive,
  nameOf: (reference: Reference) => string,
): DownloadQuery {
  const isOfIndex = upstream.some((digest, at) => digest !== digests[at]);
  const chosen = platform && isOfIndex ? formatPlatform(platform) : undefined;
  const held = (have?.references ?? []).map((one, at) => `${familiarName(one)}@${omitted?.held[at]}`);
  const isDelta = omitted !== undefined && omitted.layers.length > 0;
  return {
    myimage: references.map((reference, at) => `${nameOf(reference)}@${upstream[at]}`),
    have: isDelta ? [...new Set([...held, ...(have?.layers ?? [])])] : undefined,
    // A digest of one image says what it is for; that of an index leaves it open.
    platform: isSeveral(choice) ? formatPlatformChoice(choice) : chosen,
    ...sharedOf(shared),
  };
}

/** Like {@link digestQuery}, but for exactly the same bytes: the query keeps the tags that the archive contains. */
export function pinnedQuery(query: ArchiveQuery, archive: Archive): DownloadQuery {
  const untagged = new Set(archive.omitted?.untagged.map(({ reference }) => formatReference(reference)));
  return digestQuery(query, archive, (reference) =>
    untagged.has(formatReference(reference)) ? familiarName(reference) : taggedName(reference),
  );
}

/** Returns the query that names an archive by its requested names. */
export function namedQuery(query: ArchiveQuery): DownloadQuery {
  const { references, have, platform, ...shared } = query;
  return {
    myimage: references.map(familiarReference),
    have: have && [...have.references.map(familiarReference), ...have.layers],
    platform: platform && formatPlatformChoice(platform),
    ...sharedOf(shared),
  };
}

function sharedOf({
  name,
  format,
  compress,
  squash,
  referrers,
  parts,
}: Pick<ArchiveQuery, 'name' | 'format' | 'compress' | 'squash' | 'referrers' | 'parts'>): Omit<
  DownloadQuery,
  'myimage'
> {
  return {
    name: name && taggedName(name),
    format: format === DEFAULT_FORMAT ? undefined : format,
    compress,
    squash: squash ? '1' : undefined,
    referrers: referrers ? '1' : undefined,
    parts: parts && `${parts.limit}`,
    part: parts?.number === undefined ? undefined : `${parts.number}`,
  };
}
