import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';

/** Refuses an archive that is too large. @throws ServiceError `image-too-large` */
export function requireSize(size: number, maxSize: number): void {
  if (size <= maxSize) return;
  throw new ServiceError('image-too-large', detail('archive-large', { size, limit: maxSize }));
}
