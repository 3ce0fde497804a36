import type { FileUrl } from './metalink.ts';
import type { Replica } from './replicas.ts';
import { type DownloadQuery, downloadUrl } from './url.ts';

/** The services that have an archive, and the query for it. */
export interface FileAddresses {
  readonly query: DownloadQuery;
  /** This service; undefined if the request does not name the host by which the client reaches it. */
  readonly own: Replica | undefined;
  readonly others: readonly Replica[];
}

/**
 * Lists the URLs of an archive, or of a part of it. This service comes first, and all others have the same priority.
 *
 * @param part the number of the part, from 1; undefined for the whole archive
 */
export function fileUrls(
  { query, own, others }: FileAddresses,
  part: number | undefined,
): readonly FileUrl[] {
  const path = downloadUrl(part === undefined ? query : { ...query, part: `${part}` });
  const at = ({ origin, location }: Replica, priority: number): FileUrl => ({
    ...{ url: `${origin}${path}`, location, priority },
  });
  return [...(own === undefined ? [] : [at(own, 1)]), ...others.map((replica) => at(replica, 2))];
}
