import { archiveFilename } from '../../archive/archive-name.ts';
import { DEFAULT_FORMAT } from '../../archive/format.ts';
import { downloadUrl } from '../../download/url.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';

/** The images that the start page suggests. */
export interface Examples {
  /** Names as people write them, at most three. Empty if the service allows no known image. */
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
/** Stands for an image if the service allows no known image. */
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
