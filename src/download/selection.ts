import { type Partition, partition } from '../archive/parts.ts';
import { type Detail, detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { PartsQuery } from './query.ts';
import { type Spelling, URL_SPELLING } from './read-parameters.ts';

/** Maximum number of parts, so that a list of their checksums stays small. */
const MAX_PARTS = 9999;

/**
 * Cuts an archive into the requested parts.
 *
 * @param size bytes of the archive
 * @throws ServiceError `parameter-invalid` if there are too many parts, or if the requested part does not exist
 */
export function cutArchive(
  size: number,
  { limit, number = 1 }: PartsQuery,
  spelling: Spelling = URL_SPELLING,
): Partition {
  const parts = partition(size, limit);
  if (parts.count > MAX_PARTS)
    throw invalid(
      detail('parts-exceeded', {
        count: parts.count,
        limit: MAX_PARTS,
        example: spelling.set('parts', '4GiB'),
      }),
      `${parts.count} parts are too many`,
    );
  if (number <= parts.count) return parts;
  const count = parts.count === 1 ? '1 part' : `${parts.count} parts`;
  throw invalid(
    detail('part-missing', { count: parts.count, part: spelling.set('part', `${number}`) }),
    `The archive has ${count}`,
  );
}

/** Creates the error for a request that cuts an archive without a part number. */
export function noPart({ count }: Partition): ServiceError {
  return invalid(detail('part-unnamed', { count }), `Choose one of ${count} parts, as in &part=1`);
}

/** Creates the error for parts, a checksum, or a metalink of an archive whose length is unknown. */
export function unknownLength(): ServiceError {
  return new ServiceError('archive-not-kept', detail('length-unknown', {}));
}

function invalid(message: Detail, reason: string): ServiceError {
  return new ServiceError('parameter-invalid', message, { reason });
}
