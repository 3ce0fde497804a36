import {
  type Blob,
  blob,
  type Descriptor,
  index,
  layer,
  type Manifest,
  manifest,
  type Platform,
} from './images.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';
const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

/** A file of an artifact. */
export interface FileOptions {
  content: string | Uint8Array;
  /** Absent: the file has no title. */
  title?: string;
  mediaType?: string;
  annotations?: Record<string, string>;
}

export interface ArtifactOptions {
  files: FileOptions[];
  artifactType?: string;
  config?: Blob;
  annotations?: Record<string, string>;
  /** The manifest that the artifact refers to. */
  subject?: Descriptor;
  mediaType?: string;
  platform?: Platform;
}

/** The placeholder for an absent config or content. */
export const emptyBlob = (): Blob => blob(EMPTY, Buffer.from('{}'));

/** An artifact as `oras push` stores it: one layer for each file, named by its title. */
export function orasArtifact(options: ArtifactOptions): Manifest {
  const { files, artifactType, config = emptyBlob(), annotations, subject, platform } = options;
  const layers = files.map(({ content, title, mediaType = 'application/octet-stream', ...more }) =>
    blob(mediaType, Buffer.from(content), {
      annotations: {
        ...(title !== undefined && { 'org.opencontainers.image.title': title }),
        ...more.annotations,
      },
    }),
  );
  const mediaType = options.mediaType ?? MANIFEST;
  const body = {
    schemaVersion: 2,
    mediaType,
    ...(artifactType !== undefined && { artifactType }),
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
    ...(subject && { subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size } }),
    ...(annotations && { annotations }),
  };
  const made = manifest(mediaType, body, [config, ...layers], []);
  return platform ? { ...made, descriptor: { ...made.descriptor, platform } } : made;
}

/** A chart as `helm push` stores it, with its provenance file if wanted. */
export async function helmChart(name: string, version: string, isSigned = false): Promise<Manifest> {
  const chart = await layer({ files: { [`${name}/Chart.yaml`]: `name: ${name}\nversion: ${version}\n` } });
  const content = chart.content as Uint8Array;
  const provenance = {
    content: '-----BEGIN PGP SIGNED MESSAGE-----\n',
    mediaType: 'application/vnd.cncf.helm.chart.provenance.v1.prov',
  };
  return orasArtifact({
    config: blob('application/vnd.cncf.helm.config.v1+json', json({ name, version, apiVersion: 'v2' })),
    files: [
      { content, mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip' },
      ...(isSigned ? [provenance] : []),
    ],
    annotations: { 'org.opencontainers.image.title': name, 'org.opencontainers.image.version': version },
  });
}

/** A WebAssembly component as `wkg oci push` stores it. */
export function wasmModule(): Manifest {
  return orasArtifact({
    config: blob('application/vnd.wasm.config.v0+json', json({ architecture: 'wasm', os: 'wasip2' })),
    files: [{ content: '\0asm\x01\0\0\0', mediaType: 'application/wasm' }],
  });
}

/** A plugin of Docker, whose manifest looks like that of an image. */
export async function dockerPlugin(): Promise<Manifest> {
  const rootfs = await layer({ files: { 'bin/plugin': '#!' } });
  return orasArtifact({
    mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
    config: blob('application/vnd.docker.plugin.v1+json', json({ Description: 'test', Entrypoint: ['/p'] })),
    files: [
      {
        content: rootfs.content as Uint8Array,
        mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      },
    ],
  });
}

/** A model as `docker model push` stores it. */
export function dockerModel(): Manifest {
  return orasArtifact({
    config: blob('application/vnd.docker.ai.model.config.v0.1+json', json({ config: {}, files: [] })),
    files: [
      { content: 'GGUF', mediaType: 'application/vnd.docker.ai.gguf.v3' },
      { content: 'do what you like', mediaType: 'application/vnd.docker.ai.license' },
    ],
  });
}

/** An artifact that consists of its annotations alone. */
export function emptyArtifact(): Manifest {
  return orasArtifact({
    artifactType: 'application/vnd.example.note',
    files: [{ content: '{}', mediaType: EMPTY }],
    annotations: { 'org.example.note': 'hello' },
  });
}

/** An SBOM that refers to an image. */
export function sbomOf(subject: Descriptor): Manifest {
  return orasArtifact({
    artifactType: 'application/spdx+json',
    files: [
      { content: '{"spdxVersion":"SPDX-2.3"}', title: 'sbom.spdx.json', mediaType: 'application/spdx+json' },
    ],
    subject,
    annotations: { 'org.opencontainers.image.created': '2026-01-01T00:00:00Z' },
  });
}

/** An index of a tool for two platforms, as `oras manifest index create` makes it. */
export function toolIndex(): Manifest {
  const tool = (architecture: string): Manifest =>
    orasArtifact({
      artifactType: 'application/vnd.example.tool',
      files: [{ content: `tool for ${architecture}`, title: 'tool' }],
      platform: { os: 'linux', architecture },
    });
  return index([tool('amd64'), tool('arm64')]);
}
