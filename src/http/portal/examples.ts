import { archiveFilename } from '../../archive/filename.ts';
import { DEFAULT_FORMAT } from '../../archive/format.ts';
import { downloadUrl } from '../../download/url.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';

/** What the start page shows of the images that it suggests. */
export interface Examples {
  /** Names as people write them, at most three. Empty if the service allows none of the known images. */
  readonly names: readonly string[];
  /** The path and query of the download of the first one. */
  readonly downloadUrl: string;
  /** The file name of the first one. */
  readonly filename: string;
}

/** Images of different registries, the best known first. */
const KNOWN = [
  'python:3.12-slim',
  'ghcr.io/astral-sh/uv',
  'quay.io/prometheus/prometheus',
  'nginx:1.27',
  'postgres:17',
  'registry.k8s.io/pause:3.10',
  'mcr.microsoft.com/dotnet/runtime:8.0',
  'public.ecr.aws/docker/library/busybox',
];
const COUNT = 3;
/** Stands for an image of a service that allows none of the known images. */
const PLACEHOLDER = 'name';

/** Chooses examples that this service can send. */
export function chooseExamples(isAllowed: (reference: Reference) => boolean): Examples {
  const names = KNOWN.filter((name) => isAllowed(parseReference(name))).slice(0, COUNT);
  const [first = PLACEHOLDER] = names;
  const filename = archiveFilename({
    ...{ references: [parseReference(first)], format: DEFAULT_FORMAT },
    platform: undefined,
  });
  return { names, downloadUrl: downloadUrl({ myimage: first }), filename };
}
