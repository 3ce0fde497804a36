import { type Partition, partition } from '../archive/parts.ts';
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
      `The archive would have ${parts.count} parts, but at most ${MAX_PARTS} are allowed. Increase ${spelling.set('parts', '4GiB')}.`,
      `${parts.count} parts are too many`,
    );
  if (number <= parts.count) return parts;
  const count = parts.count === 1 ? '1 part' : `${parts.count} parts`;
  throw invalid(
    `The archive has ${count}, so ${spelling.set('part', `${number}`)} does not exist.`,
    `The archive has ${count}`,
  );
}

/** Creates the error for a request that cuts an archive without a part number. */
export function noPart({ count }: Partition): ServiceError {
  return invalid(
    `The parameter part is missing. Choose one of ${count} parts, as in &part=1, or add &checksum=1 for the checksums of all parts.`,
    `Choose one of ${count} parts, as in &part=1`,
  );
}

/** Creates the error for parts, a checksum, or a metalink of an archive whose length is unknown. */
export function unknownLength(): ServiceError {
  return new ServiceError(
    'archive-not-kept',
    'This archive is created while it is sent, so it has no parts, checksum, or metalink.',
  );
}

function invalid(message: string, reason: string): ServiceError {
  return new ServiceError('parameter-invalid', message, { reason });
}
