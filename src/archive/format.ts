import { type ArchiveImage, type ArchiveTree, dockerEntries, ociEntries, treeEntries } from './entries.ts';
import type { Entry } from './layout.ts';

/** The properties of a format, by which all parts of the service handle its archives. */
export interface Format {
  /** One sentence for the API: the files in an archive, and the tools that load it. */
  readonly description: string;
  /** The subject of a sentence about its archives. */
  readonly subject: string;
  /** The end of file names, before `.tar`, such as `_rootfs`. Empty for the common name. */
  readonly suffix: string;
  /**
   * Lists the files of an archive of images.
   *
   * @throws ServiceError `content-mismatch` if two descriptors disagree on the size of one blob
   */
  readonly entries: (images: readonly ArchiveImage[]) => Entry[];
  /** Lists the files of an archive with several platforms; undefined if an archive has only one platform. */
  readonly treeEntries: ((trees: readonly ArchiveTree[]) => Entry[]) | undefined;
  /**
   * The layers that a delta omits. Docker knows a layer only by all layers below it: `bottom` omits layers up to the
   * first new one. Readers of an OCI layout know each layer by itself: `any`.
   */
  readonly omits: 'bottom' | 'any';
  /** True to prefer gzip layers to zstd layers, which Docker before 23.0 cannot load. */
  readonly prefersGzip: boolean;
}

/** The formats by their names in requests, the default first. */
const TABLE = {
  docker: {
    description: "an OCI image layout with Docker's `manifest.json`, which every loader takes",
    subject: "An archive in Docker's format",
    suffix: '',
    entries: dockerEntries,
    treeEntries: undefined,
    omits: 'bottom',
    prefersGzip: true,
  },
  oci: {
    description: 'the OCI image layout alone, with the manifests of the registry',
    subject: 'An OCI image layout',
    suffix: '',
    entries: ociEntries,
    treeEntries,
    omits: 'any',
    prefersGzip: false,
  },
} satisfies Readonly<Record<string, Format>>;

/** The name of a format in requests. */
export type ArchiveFormat = keyof typeof TABLE;

/** The only list of formats: requests, file names, the API document, the page, and the command line use it. */
export const FORMATS: Readonly<Record<ArchiveFormat, Format>> = TABLE;

/** The names of all formats, the default first. */
export const FORMAT_NAMES = Object.keys(TABLE) as ArchiveFormat[];

/** The format of requests that name none. */
export const DEFAULT_FORMAT: ArchiveFormat = 'docker';
