import type { Descriptor } from './descriptor.ts';
import { parseJsonObject } from './json.ts';
import { ANNOTATIONS, type ManifestLinks } from './manifest.ts';

/** A file of an artifact. */
export interface ArtifactFile {
  readonly blob: Descriptor;
  /** The name that its publisher gives it, which may be any text; undefined if absent. */
  readonly title: string | undefined;
  /** True if the file is a folder that ORAS packed as tar. */
  readonly isFolder: boolean;
}

/** The manifest of an artifact, without indexes. */
export type ArtifactManifest = Extract<ManifestLinks, { readonly kind: 'manifest' }>;

const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
const HELM_CONFIG = 'application/vnd.cncf.helm.config.v1+json';
const HELM_CHART = /^application\/(?:vnd\.cncf\.helm\.chart\.content\.v1\.)?tar\+gzip$/;
const HELM_PROVENANCE = 'application/vnd.cncf.helm.chart.provenance.v1.prov';
/** Helm's names and versions, which are semantic versions, are shorter. */
const CHART_WORD = /^[\w.+-]{1,128}$/;

/** Tells whether only the config of an artifact says how its files are called. */
export function hasNamesInConfig({ config }: ArtifactManifest): boolean {
  return config.mediaType === HELM_CONFIG;
}

/**
 * Lists the files of an artifact in the order of its manifest. A chart is `NAME-VERSION.tgz`, as `helm pull` names it.
 * The placeholders of artifacts without content do not count.
 *
 * @param configBytes the config, if {@link hasNamesInConfig}
 * @see https://github.com/helm/helm/blob/v3.18.0/pkg/registry/constants.go
 * @see https://github.com/oras-project/oras-go/blob/v2.6.0/content/file/file.go
 */
export function artifactFiles(manifest: ArtifactManifest, configBytes?: Uint8Array): ArtifactFile[] {
  const chart = configBytes && chartFile(configBytes);
  return manifest.layers
    .filter(({ mediaType }) => mediaType !== EMPTY_TYPE)
    .map((blob) => ({
      blob,
      title: blob.annotations?.[ANNOTATIONS.title] ?? (chart && helmTitle(blob, chart)),
      isFolder: blob.annotations?.[ANNOTATIONS.unpack] === 'true',
    }));
}

function helmTitle({ mediaType }: Descriptor, chart: string): string | undefined {
  if (mediaType === HELM_PROVENANCE) return `${chart}.prov`;
  return HELM_CHART.test(mediaType) ? chart : undefined;
}

/** Reads the file name of a chart from its metadata; undefined if that has no plain name and version. */
function chartFile(configBytes: Uint8Array): string | undefined {
  const { name, version } = parseJsonObject(configBytes) ?? {};
  if (typeof name !== 'string' || !CHART_WORD.test(name)) return undefined;
  if (typeof version !== 'string' || !CHART_WORD.test(version)) return undefined;
  return `${name}-${version}.tgz`;
}
