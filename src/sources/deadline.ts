import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { formatReference } from '../oci/reference.ts';
import type { ImageInspector } from './image-catalogue.ts';
import type { Archive, ImageSource } from './image-source.ts';

/**
 * Maximum milliseconds to resolve the contents of an archive. This may take hundreds of requests, each with its own
 * timeout.
 */
export const RESOLVE_TIMEOUT_MS = 180_000;

/** Wraps a source with a deadline for resolving an archive. The transfer has no deadline. */
export function sourceWithDeadline(
  source: ImageSource<Archive>,
  timeout = RESOLVE_TIMEOUT_MS,
): ImageSource<Archive> {
  return {
    ...source,
    open: (request, signal) =>
      inTime(
        request.references.map(formatReference).join(', '),
        (ended) => source.open(request, ended),
        signal,
        timeout,
      ),
  };
}

/** Wraps a catalogue with a deadline for each question. */
export function inspectorWithDeadline(
  catalogue: ImageInspector,
  timeout = RESOLVE_TIMEOUT_MS,
): ImageInspector {
  return {
    describe: (request, signal) =>
      inTime(
        formatReference(request.reference),
        (ended) => catalogue.describe(request, ended),
        signal,
        timeout,
      ),
    tags: (repository, signal, onCostly) =>
      inTime(
        `${repository.domain}/${repository.path}`,
        (ended) => catalogue.tags(repository, ended, onCostly),
        signal,
        timeout,
      ),
  };
}

/** Aborts work that takes longer than a timeout. @throws ServiceError `registry-timeout` */
export async function inTime<T>(
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
  timeout: number,
): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeout);
  try {
    return await work(AbortSignal.any([signal, late.signal]));
  } catch (error) {
    if (signal.aborted || !late.signal.aborted) throw error;
    throw new ServiceError(
      'registry-timeout',
      detail('resolving-slow', { image: what, limit: { milliseconds: timeout } }),
    );
  } finally {
    clearTimeout(timer);
  }
}
