import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pack } from 'tar-stream';

export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: Platform;
  annotations?: Record<string, string>;
  artifactType?: string;
  urls?: string[];
}

/** Bytes with their descriptor; large ones stay in a file. */
export interface Blob {
  descriptor: Descriptor;
  content: Uint8Array | { path: string };
}

export interface Layer extends Blob {
  diffId: string;
}

/** The parts to push: a manifest or an index, its blobs, and the manifests below it. */
export interface Manifest {
  descriptor: Descriptor;
  bytes: Buffer;
  blobs: Blob[];
  children: Manifest[];
}

export interface Image extends Manifest {
  config: Blob;
  layers: Layer[];
}

export type Compression = 'gzip' | 'zstd' | 'none';
export type MediaTypes = 'oci' | 'docker';

type File =
  | string
  | Uint8Array
  | { content?: string | Uint8Array; mode?: number }
  | { symlink: string }
  | { directory: true; mode?: number };

/** Path inside the layer → a file's content, or another type of entry. */
export type Files = Record<string, File>;

export const layerMediaType = {
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  none: 'application/vnd.oci.image.layer.v1.tar',
} satisfies Record<Compression, string>;

const dockerName: Record<string, string> = {
  'application/vnd.oci.image.layer.v1.tar+gzip': 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd': 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  'application/vnd.oci.image.layer.v1.tar': 'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.oci.image.config.v1+json': 'application/vnd.docker.container.image.v1+json',
  'application/vnd.oci.image.manifest.v1+json': 'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.image.index.v1+json': 'application/vnd.docker.distribution.manifest.list.v2+json',
};

const compressors: Record<Compression, (bytes: Buffer) => Buffer> = {
  gzip: (bytes) => gzipSync(bytes),
  zstd: (bytes) => zstdCompressSync(bytes),
  none: (bytes) => bytes,
};

/** The same time for all timestamps, so that digests are reproducible. */
export const created = new Date('2026-01-01T00:00:00Z');

export const sha256 = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Any bytes as a blob. */
export function blob(mediaType: string, bytes: Uint8Array, more: Partial<Descriptor> = {}): Blob {
  return { descriptor: { mediaType, digest: sha256(bytes), size: bytes.length, ...more }, content: bytes };
}

export interface LayerOptions {
  files: Files;
  compression?: Compression;
  mediaType?: string;
  /** Makes a foreign layer: it is named in the manifest and never pushed. */
  urls?: string[];
}

/** A layer with the given files. */
export async function layer({ files, compression = 'gzip', mediaType, urls }: LayerOptions): Promise<Layer> {
  const plain = await tarOf(files);
  const bytes = compressors[compression](plain);
  const made = blob(mediaType ?? layerMediaType[compression], bytes, urls ? { urls } : {});
  return { ...made, diffId: sha256(plain) };
}

export interface ImageOptions {
  platform: Platform;
  layers: Layer[];
  /** The `config` member of the image configuration: Cmd, Env, Labels… */
  config?: Record<string, unknown>;
  mediaTypes?: MediaTypes;
  /** False leaves `mediaType` out of the manifest's body, as some builders do. */
  mediaTypeInBody?: boolean;
  annotations?: Record<string, string>;
}

/** A runnable image for one platform. */
export function image(options: ImageOptions): Image {
  const { platform, layers, config = {}, mediaTypes = 'oci', mediaTypeInBody = true, annotations } = options;
  const named = mediaTypes === 'oci' ? layers : layers.map(asDocker);
  const configBlob = blob(
    typeFor(mediaTypes, 'application/vnd.oci.image.config.v1+json'),
    json({
      created: created.toISOString(),
      ...platform,
      config,
      rootfs: { type: 'layers', diff_ids: layers.map((one) => one.diffId) },
      history: layers.map(() => ({ created: created.toISOString(), created_by: 'test' })),
    }),
  );
  const mediaType = typeFor(mediaTypes, 'application/vnd.oci.image.manifest.v1+json');
  const body = {
    schemaVersion: 2,
    ...(mediaTypeInBody ? { mediaType } : {}),
    config: configBlob.descriptor,
    layers: named.map((one) => one.descriptor),
    ...(annotations ? { annotations } : {}),
  };
  const made = manifest(mediaType, body, [configBlob, ...named], []);
  return { ...made, descriptor: { ...made.descriptor, platform }, config: configBlob, layers: named };
}

export interface IndexOptions {
  mediaTypes?: MediaTypes;
  annotations?: Record<string, string>;
  /** Adds one attestation manifest for each entry, as BuildKit does. */
  attestations?: boolean;
}

/** An index (a manifest list) over images or further indexes. */
export function index(entries: Manifest[], options: IndexOptions = {}): Manifest {
  const { mediaTypes = 'oci', annotations, attestations = false } = options;
  const mediaType = typeFor(mediaTypes, 'application/vnd.oci.image.index.v1+json');
  const children = attestations ? [...entries, ...entries.map(attestationFor)] : entries;
  const manifests = children.map((child) => child.descriptor);
  const body = { schemaVersion: 2, mediaType, manifests, ...(annotations ? { annotations } : {}) };
  return manifest(mediaType, body, [], children);
}

/** Makes an artifact other than an image: a Helm chart, as `helm push` stores it. */
export async function artifact(): Promise<Manifest> {
  const chart = 'apiVersion: v2\nname: chart\nversion: 1.0.0\n';
  const content = await layer({
    files: { 'chart/Chart.yaml': chart },
    mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
  });
  const config = blob('application/vnd.cncf.helm.config.v1+json', json({ name: 'chart', version: '1.0.0' }));
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const body = { schemaVersion: 2, mediaType, config: config.descriptor, layers: [content.descriptor] };
  return manifest(mediaType, body, [config, content], []);
}

/** Stores any manifest body unchanged, for structures that the functions above do not create. */
export function manifest(mediaType: string, body: object, blobs: Blob[], children: Manifest[]): Manifest {
  const bytes = json(body);
  return { descriptor: blob(mediaType, bytes).descriptor, bytes, blobs, children };
}

/** https://docs.docker.com/build/metadata/attestations/attestation-storage/ */
function attestationFor(subject: Manifest): Manifest {
  const statement = blob(
    'application/vnd.in-toto+json',
    json({ _type: 'https://in-toto.io/Statement/v0.1', subject: [], predicate: subject.descriptor.digest }),
    { annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' } },
  );
  const platform = { os: 'unknown', architecture: 'unknown' };
  const made = image({ platform, layers: [{ ...statement, diffId: statement.descriptor.digest }] });
  const annotations = {
    'vnd.docker.reference.digest': subject.descriptor.digest,
    'vnd.docker.reference.type': 'attestation-manifest',
  };
  return { ...made, descriptor: { ...made.descriptor, annotations } };
}

async function tarOf(files: Files): Promise<Buffer> {
  const archive = pack();
  for (const [name, file] of Object.entries(files)) {
    const common = { name, mtime: created, uid: 0, gid: 0 };
    if (typeof file === 'string' || file instanceof Uint8Array) {
      archive.entry({ ...common, mode: 0o644 }, Buffer.from(file));
    } else if ('symlink' in file) {
      archive.entry({ ...common, type: 'symlink', linkname: file.symlink, mode: 0o777 });
    } else if ('directory' in file) {
      archive.entry({ ...common, type: 'directory', mode: file.mode ?? 0o755 });
    } else {
      archive.entry({ ...common, mode: file.mode ?? 0o644 }, Buffer.from(file.content ?? ''));
    }
  }
  archive.finalize();
  return buffer(archive);
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

const typeFor = (mediaTypes: MediaTypes, oci: string): string =>
  mediaTypes === 'oci' ? oci : (dockerName[oci] ?? oci);

const asDocker = (one: Layer): Layer => ({
  ...one,
  descriptor: { ...one.descriptor, mediaType: typeFor('docker', one.descriptor.mediaType) },
});
