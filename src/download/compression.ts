import { pipeline, type Transform } from 'node:stream';
import { constants, createGzip, createZstdCompress } from 'node:zlib';
import type { Archive, LiveArchive } from '../sources/image-source.ts';

/** A compression of archives by its name in requests. */
interface Kind {
  /** The end of file names. */
  readonly ending: string;
  readonly contentType: string;
  create(): Transform;
}

/** Fast levels, because strangers request them, and each download is compressed again. */
const TABLE = {
  gzip: {
    ending: '.gz',
    contentType: 'application/gzip',
    create: () => createGzip({ level: constants.Z_BEST_SPEED }),
  },
  zstd: { ending: '.zst', contentType: 'application/zstd', create: () => createZstdCompress() },
} satisfies Readonly<Record<string, Kind>>;

/** The name of a compression in requests. */
export type Compression = keyof typeof TABLE;

/** The names of all compressions. */
export const COMPRESSIONS = Object.keys(TABLE) as Compression[];

/** Returns the archive in a compressed file, whose length is known only at its end. */
export function compressedArchive(archive: Archive, compression: Compression): LiveArchive {
  const { ending, contentType, create }: Kind = TABLE[compression];
  const { read, etag: _, images: _images, layers: _layers, ...facts } = archive;
  return {
    ...facts,
    ...{ size: undefined, filename: `${archive.filename}${ending}`, contentType },
    async start(signal, onFetched) {
      const compressed = create();
      // The reader sees a failure of either stream at the compressed one.
      pipeline(read(undefined, signal, onFetched), compressed, () => {});
      return compressed;
    },
  };
}
