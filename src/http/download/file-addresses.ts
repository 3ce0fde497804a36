import type { FastifyRequest } from 'fastify';
import type { FileAddresses } from '../../download/file-urls.ts';
import { METALINK_TYPE } from '../../download/metalink.ts';
import { namedQuery, pinnedQuery } from '../../download/pinned-query.ts';
import type { ArchiveQuery } from '../../download/query.ts';
import { areSameEverywhere, otherReplicas } from '../../download/replicas.ts';
import { downloadUrl } from '../../download/url.ts';
import type { Archive, SourceTraits } from '../../sources/image-source.ts';
import { type Addresses, ownAddress } from '../protocol/own-address.ts';
import type { Headers } from './headers.ts';

/** Maximum characters of the Link header. Clients accept only 8 to 16 KiB of headers in total. */
const LINK_MAX = 4096;
/** Maximum characters of a URL that services accept. */
const URL_MAX = 8000;

/**
 * Returns the URLs of an identical file. An archive that digests fix is available by digest at all replicas. Archives
 * of an engine or with signatures can differ tomorrow, so they have only the URL with their name here.
 */
export function addressesOf(
  request: FastifyRequest,
  query: ArchiveQuery,
  archive: Archive,
  { addresses, traits }: { readonly addresses: Addresses; readonly traits: SourceTraits },
): FileAddresses {
  const own = ownAddress(request, addresses);
  const pinned = areSameEverywhere(query, traits) ? pinnedQuery(query, archive) : undefined;
  if (pinned === undefined || downloadUrl(pinned).length > URL_MAX)
    return { query: namedQuery(query), own, others: [] };
  return { query: pinned, own, others: otherReplicas(addresses.replicas, own) };
}

/**
 * Links the metalink and, as far as they fit, the replicas.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6249
 */
export function linkHeader({ query, others }: FileAddresses): Headers {
  const path = downloadUrl(query);
  const metalink = downloadUrl({ ...query, metalink: '1' });
  const links = [
    `<${metalink}>; rel=describedby; type="${METALINK_TYPE}"`,
    ...others.map(
      ({ origin, location }) =>
        `<${origin}${path}>; rel=duplicate${location === undefined ? '' : `; geo=${location}`}`,
    ),
  ];
  let room = LINK_MAX;
  const fitting = links.filter((link) => {
    room -= link.length + 2;
    return room >= 0;
  });
  // A line for each: aria2c reads one link of a line.
  return fitting.length > 0 ? { link: fitting } : {};
}
