import { hashedAs, type Partition, partsFilename } from '../archive/parts.ts';
import { ServiceError } from '../errors.ts';
import type { Archive } from '../sources/image-source.ts';
import { archivePart } from './archive-part.ts';
import { type FileAddresses, fileUrls } from './file-urls.ts';
import type { HashedFile } from './hashed-file.ts';
import { METALINK_TYPE, type MetalinkFile, renderMetalink } from './metalink.ts';
import type { ArchiveQuery } from './query.ts';

/** Files in one metalink. */
const MAX_FILES = 1000;

/** What a metalink is made of beside the archive. */
export interface MetalinkOptions {
  readonly addresses: FileAddresses;
  /** Name and version: `DockerProxy/1.0.0`. */
  readonly generator: string;
}

/**
 * The metalink of an archive, of a part of it, or of all its parts.
 *
 * @throws ServiceError `parameter-invalid` where it would have too many files
 */
export function metalinkFile(
  query: ArchiveQuery,
  archive: Archive,
  parts: Partition,
  { addresses, generator }: MetalinkOptions,
): HashedFile {
  if (addresses.own === undefined && addresses.others.length === 0) throw noHost();
  const files = filesOf(query, archive, parts);
  const hashed = files.map(({ file }) => ({
    archive: file,
    partitions: hashedAs(file.size, archive.size),
  }));
  const [only, ...others] = files;
  const name = others.length > 0 ? partsFilename(archive.filename, parts) : only.file.filename;
  return {
    filename: `${name}.meta4`,
    contentType: METALINK_TYPE,
    // It has the address that the client asked by in it.
    cacheControl: 'private, no-cache',
    hashed,
    render: (hashes) =>
      renderMetalink(
        files.map(({ file, number }, at): MetalinkFile => {
          const [[hash = ''] = [], pieces] = hashes[at] ?? [];
          const [, cut] = hashed[at]?.partitions ?? [];
          return {
            name: file.filename,
            size: file.size,
            hash,
            pieces: pieces && cut && { length: cut.partSize, hashes: pieces },
            urls: fileUrls(addresses, number),
          };
        }),
        generator,
      ),
  };
}

interface AskedFile {
  readonly file: Archive;
  /** Of the part; undefined: the whole. */
  readonly number: number | undefined;
}

/** The files that are asked for. */
function filesOf(
  { parts: asked }: ArchiveQuery,
  archive: Archive,
  parts: Partition,
): readonly [AskedFile, ...AskedFile[]] {
  if (asked === undefined) return [{ file: archive, number: undefined }];
  const part = (number: number): AskedFile => ({ file: archivePart(archive, parts, number), number });
  if (asked.number !== undefined) return [part(asked.number)];
  if (parts.count <= MAX_FILES)
    return [part(1), ...Array.from({ length: parts.count - 1 }, (_, at) => part(at + 2))];
  throw new ServiceError(
    'parameter-invalid',
    `There would be ${parts.count} parts; a metalink has at most ${MAX_FILES}. Ask for larger parts, or for one of them with &part=1.`,
    { reason: `${parts.count} parts are too many` },
  );
}

function noHost(): ServiceError {
  return new ServiceError('request-malformed', 'The Host header names no host that the file could be at.');
}
