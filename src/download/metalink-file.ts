import { hashedAs, partsFilename } from '../archive/parts.ts';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { Archive } from '../sources/image-source.ts';
import { archivePart } from './archive-part.ts';
import { type FileAddresses, fileUrls } from './file-urls.ts';
import type { HashedFile } from './hashed-file.ts';
import { METALINK_TYPE, metalinkEntry, renderMetalink } from './metalink.ts';
import type { FixedDownload } from './open-download.ts';

/** Files in one metalink. */
const MAX_FILES = 1000;

/** The parts of a metalink beside the archive. */
export interface MetalinkOptions {
  readonly addresses: FileAddresses;
  /** Name and version: `DockerProxy/1.0.0`. */
  readonly generator: string;
}

/**
 * The metalink of an archive, of a part of it, or of all its parts.
 *
 * @throws ServiceError `parameter-invalid` if it would have too many files
 */
export function metalinkFile(download: FixedDownload, { addresses, generator }: MetalinkOptions): HashedFile {
  if (addresses.own === undefined && addresses.others.length === 0) throw noHost();
  const { archive } = download;
  const files = filesOf(download);
  const hashed = files.map(({ file }) => ({
    archive: file,
    partitions: hashedAs(file.size, archive.size),
  }));
  const name =
    download.kind === 'parts' ? partsFilename(archive.filename, download.parts) : files[0].file.filename;
  return {
    filename: `${name}.meta4`,
    contentType: METALINK_TYPE,
    // It contains the address that the client used.
    cacheControl: 'private, no-cache',
    hashed,
    render: (hashes) =>
      renderMetalink(
        files.map(({ file: { filename, size }, number }, at) => {
          const file = { name: filename, size, urls: fileUrls(addresses, number) };
          return metalinkEntry(file, hashed[at]?.partitions ?? [], hashes[at] ?? []);
        }),
        generator,
      ),
  };
}

interface AskedFile {
  readonly file: Archive;
  /** The part; undefined for the whole file. */
  readonly number: number | undefined;
}

/** Lists the requested files. */
function filesOf(download: FixedDownload): readonly [AskedFile, ...AskedFile[]] {
  const { archive } = download;
  if (download.kind === 'archive') return [{ file: archive, number: undefined }];
  if (download.kind === 'part') return [{ file: download.part, number: download.number }];
  const { parts } = download;
  const part = (number: number): AskedFile => ({ file: archivePart(archive, parts, number), number });
  if (parts.count <= MAX_FILES)
    return [part(1), ...Array.from({ length: parts.count - 1 }, (_, at) => part(at + 2))];
  throw new ServiceError(
    'parameter-invalid',
    detail('metalink-large', { count: parts.count, limit: MAX_FILES }),
    { reason: `${parts.count} parts are too many` },
  );
}

function noHost(): ServiceError {
  return new ServiceError('request-malformed', detail('metalink-without-host', {}));
}
