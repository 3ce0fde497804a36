import type { Partition } from '../archive/parts.ts';
import type { Archive, ArchiveRequest, ImageSource, LiveArchive } from '../sources/image-source.ts';
import { archivePart } from './archive-part.ts';
import { compressedArchive } from './compression.ts';
import type { ArchiveQuery } from './query.ts';
import { type Spelling, URL_SPELLING } from './read-parameters.ts';
import { cutArchive, unknownLength } from './selection.ts';

/** An archive of known length, and the requested cut of it. */
export type FixedDownload =
  | { readonly kind: 'archive'; readonly archive: Archive }
  | { readonly kind: 'parts'; readonly archive: Archive; readonly parts: Partition }
  | {
      readonly kind: 'part';
      /** The whole archive. */
      readonly archive: Archive;
      readonly parts: Partition;
      /** The number of the part, from 1. */
      readonly number: number;
      readonly part: Archive;
    };

/** An opened download: an archive, all its parts, one part, or an archive of unknown length. */
export type Download = FixedDownload | { readonly kind: 'live'; readonly archive: LiveArchive };

/**
 * Opens an archive and cuts it as requested.
 *
 * @param spelling how messages write the options
 * @throws ServiceError why the archive or the part does not exist
 */
export async function openDownload(
  source: ImageSource,
  request: ArchiveRequest & Pick<ArchiveQuery, 'parts' | 'compress'>,
  signal: AbortSignal,
  spelling: Spelling = URL_SPELLING,
): Promise<Download> {
  const found = await source.open(request, signal);
  const { parts: asked, compress } = request;
  const archive =
    found.size === undefined || compress === undefined ? found : compressedArchive(found, compress);
  if (archive.size === undefined) {
    if (asked !== undefined) throw unknownLength();
    return { kind: 'live', archive };
  }
  if (asked === undefined) return { kind: 'archive', archive };
  const { number } = asked;
  const parts = cutArchive(archive.size, asked, spelling);
  if (number === undefined) return { kind: 'parts', archive, parts };
  return { kind: 'part', archive, parts, number, part: archivePart(archive, parts, number) };
}
