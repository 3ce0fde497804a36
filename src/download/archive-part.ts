import { type Partition, partFilename, partRange } from '../archive/parts.ts';
import type { Archive } from '../sources/image-source.ts';

/** A part of an archive as a file of its own: with its name, its length, its ETag and its ranges. The first part is 1. */
export function archivePart(archive: Archive, partition: Partition, number: number): Archive {
  const { start, end } = partRange(partition, number);
  return {
    ...archive,
    filename: partFilename(archive.filename, number, partition),
    size: end - start,
    layers: undefined,
    etag: `${archive.etag.slice(0, -1)}.${number}-${partition.partSize}"`,
    read: (range = { start: 0, end: end - start }, ...rest) =>
      archive.read({ start: start + range.start, end: start + range.end }, ...rest),
  };
}
