import { hashedAs, partFilename, partsFilename } from '../archive/parts.ts';
import type { HashedFile } from './hashed-file.ts';
import type { FixedDownload } from './open-download.ts';

/** A file whose checksum is requested; the first part is 1. */
interface Line {
  readonly filename: string;
  readonly number: number;
}

/**
 * Returns the checksum of an archive, or of its parts, as `sha256sum -c` reads it.
 *
 * @param savedAs the name by which the client saves the archive, if it is not the archive's own
 * @see https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html
 */
export function checksumFile(download: FixedDownload, savedAs: string | undefined): HashedFile {
  const { archive } = download;
  const { name, lines } = namedLines(download, savedAs);
  // Also hashes the pieces of a whole archive, because a metalink needs them and one pass suffices.
  const partitions = download.kind === 'archive' ? hashedAs(archive.size) : [download.parts];
  return {
    filename: `${name}.sha256`,
    contentType: 'text/plain; charset=utf-8',
    hashed: [{ archive, partitions }],
    render(hashes) {
      const own = hashes[0]?.[0] ?? [];
      return lines.map(({ filename, number }) => checksumLine(own[number - 1], filename)).join('');
    },
  };
}

/** Writes the line of one file. */
export function checksumLine(hash: string | undefined, filename: string): string {
  return `${hash}  ${filename}\n`;
}

function namedLines(
  download: FixedDownload,
  savedAs: string | undefined,
): { readonly name: string; readonly lines: readonly Line[] } {
  const { filename } = download.archive;
  if (download.kind === 'archive')
    return { name: filename, lines: [{ filename: savedAs ?? filename, number: 1 }] };
  const { parts } = download;
  const line = (number: number): Line => ({ filename: partFilename(filename, number, parts), number });
  if (download.kind === 'part') {
    const only = line(download.number);
    return { name: only.filename, lines: [only] };
  }
  const lines = Array.from({ length: parts.count }, (_, at) => line(at + 1));
  return { name: partsFilename(filename, parts), lines };
}
