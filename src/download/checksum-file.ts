import { hashedAs, type Partition, partFilename, partsFilename } from '../archive/parts.ts';
import type { Archive } from '../sources/image-source.ts';
import type { HashedFile } from './hashed-file.ts';
import type { ArchiveQuery } from './query.ts';

/** A file whose checksum is asked for; the first part is 1. */
interface Line {
  readonly filename: string;
  readonly number: number;
}

/**
 * The checksum of an archive, or of its parts, as `sha256sum -c` reads it.
 *
 * @see https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html
 */
export function checksumFile(query: ArchiveQuery, archive: Archive, parts: Partition): HashedFile {
  const { name, lines } = namedLines(query, archive, parts);
  // The pieces of a whole archive come with it, since the same pass gives a metalink its hashes.
  const partitions = query.parts === undefined ? hashedAs(archive.size) : [parts];
  return {
    filename: `${name}.sha256`,
    contentType: 'text/plain; charset=utf-8',
    hashed: [{ archive, partitions }],
    render(hashes) {
      const own = hashes[0]?.[0] ?? [];
      return lines.map(({ filename, number }) => `${own[number - 1]}  ${filename}\n`).join('');
    },
  };
}

function namedLines(
  { parts: asked, savedAs }: ArchiveQuery,
  { filename }: Archive,
  parts: Partition,
): { readonly name: string; readonly lines: readonly Line[] } {
  if (asked === undefined) return { name: filename, lines: [{ filename: savedAs ?? filename, number: 1 }] };
  const line = (number: number): Line => ({ filename: partFilename(filename, number, parts), number });
  if (asked.number !== undefined) {
    const only = line(asked.number);
    return { name: only.filename, lines: [only] };
  }
  const lines = Array.from({ length: parts.count }, (_, at) => line(at + 1));
  return { name: partsFilename(filename, parts), lines };
}
