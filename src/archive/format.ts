import { type Alternatives, detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { familiarReference } from '../oci/reference.ts';
import { type ClassicImage, layoutClassic } from './docker-classic.ts';
import { type ArchiveImage, type ArchiveTree, dockerEntries, ociEntries, treeEntries } from './entries.ts';
import type { Entry, Layout } from './layout.ts';

/** The properties of a format, by which all parts of the service handle its archives. */
export interface Format {
  /** One sentence for the API: the files in an archive, and the tools that load it. */
  readonly description: string;
  /** The end of file names, before `.tar`, such as `_rootfs`. Empty for the common name. */
  readonly suffix: string;
  /** True if an archive has the names of its images. */
  readonly isNamed: boolean;
  /**
   * Lists the files of an archive of images.
   *
   * @throws ServiceError `content-mismatch` if two descriptors disagree on the size of one blob; `no-files` if the format
   *   cannot hold images
   */
  readonly entries: (images: readonly ArchiveImage[]) => Entry[];
  /** Lists the files of an archive with several platforms; undefined if an archive has only one platform. */
  readonly treeEntries: ((trees: readonly ArchiveTree[]) => Entry[]) | undefined;
  /**
   * The form in which artifacts other than images are sent: their `files`, or `whole` with their manifests. Undefined if
   * the format cannot hold them.
   */
  readonly artifacts: 'files' | 'whole' | undefined;
  /**
   * The layers that a delta omits. Docker knows a layer only by all layers below it: `bottom` omits layers up to the
   * first new one. Readers of an OCI layout know each layer by itself: `any`.
   */
  readonly omits: 'bottom' | 'any';
  /** True to prefer gzip layers to zstd layers, which Docker before 23.0 cannot load. */
  readonly prefersGzip: boolean;
  /** For archives of files, or of unpacked layers; undefined for archives of layers as they are. */
  readonly unpacked: UnpackedFormat | undefined;
}

/** A format that depends on the content of layers. */
export interface UnpackedFormat {
  /** The maximum number of images in one archive. */
  readonly mostImages: number;
  /** True if the readers of its archives take them compressed. */
  readonly isCompressible: boolean;
  /** Fixes the position of each byte of an archive of layers; undefined for the root file system of one image. */
  readonly layoutLayers: ((images: readonly ClassicImage[]) => Layout) | undefined;
}

/** The formats by their names in requests, the default first. */
const TABLE = {
  docker: {
    description: "an OCI image layout with Docker's `manifest.json`, which every loader takes",
    suffix: '',
    isNamed: true,
    entries: dockerEntries,
    treeEntries: undefined,
    artifacts: undefined,
    omits: 'bottom',
    prefersGzip: true,
    unpacked: undefined,
  },
  oci: {
    description: 'the OCI image layout alone, with the manifests of the registry',
    suffix: '',
    isNamed: true,
    entries: ociEntries,
    treeEntries,
    artifacts: 'whole',
    omits: 'any',
    prefersGzip: false,
    unpacked: undefined,
  },
  rootfs: {
    description: 'the files of one image, merged from all layers, for WSL, LXC, chroot, and systemd-nspawn',
    suffix: '_rootfs',
    isNamed: false,
    entries: dockerEntries,
    treeEntries: undefined,
    artifacts: undefined,
    omits: 'any',
    prefersGzip: false,
    unpacked: {
      mostImages: 1,
      isCompressible: true,
      layoutLayers: undefined,
    },
  },
  'docker-classic': {
    description:
      'unpacked layers, as `docker save` wrote them before version 25, for older Docker, NAS, and udocker',
    suffix: '_classic',
    isNamed: true,
    entries: dockerEntries,
    treeEntries: undefined,
    artifacts: undefined,
    omits: 'any',
    prefersGzip: false,
    unpacked: {
      mostImages: Number.POSITIVE_INFINITY,
      isCompressible: false,
      layoutLayers: layoutClassic,
    },
  },
  files: {
    description:
      'the files of anything but an image, such as a Helm chart: one file as it is, several in a tar',
    suffix: '_files',
    isNamed: false,
    entries: refuseImages,
    treeEntries: undefined,
    artifacts: 'files',
    omits: 'any',
    prefersGzip: true,
    unpacked: undefined,
  },
} satisfies Readonly<Record<string, Format>>;

/** The name of a format in requests. */
export type ArchiveFormat = keyof typeof TABLE;

/** The only list of formats: requests, file names, the API document, the page, and the command line use it. */
export const FORMATS: Readonly<Record<ArchiveFormat, Format>> = TABLE;

/** The names of all formats, the default first. */
export const FORMAT_NAMES = Object.keys(TABLE) as ArchiveFormat[];

/** The format of images in requests that name none. */
export const DEFAULT_FORMAT: ArchiveFormat = 'docker';

/** The format of artifacts other than images in requests that name none. */
export const ARTIFACT_FORMAT: ArchiveFormat = 'files';

/** Lists the formats with some property as messages name them: `&format=files or &format=oci`. */
export function formatsFor(isFitting: (format: Format) => boolean): Alternatives {
  return { anyOf: FORMAT_NAMES.filter((name) => isFitting(FORMATS[name])).map((name) => `&format=${name}`) };
}

function refuseImages(images: readonly ArchiveImage[]): never {
  const names = images.map(({ reference }) => familiarReference(reference)).join(', ');
  throw new ServiceError(
    'no-files',
    [
      detail('image-has-layers', { image: names }),
      detail('formats-possible', { formats: formatsFor(({ artifacts }) => artifacts !== 'files') }),
    ],
    { reason: 'A container image has no files' },
  );
}
