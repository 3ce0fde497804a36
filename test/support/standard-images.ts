import { cpSync, existsSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type BusyboxArchitecture, busyboxBinary, cache } from './busybox.ts';
import type { Compression, Layer, Manifest } from './images.ts';
import {
  artifact,
  type Files,
  type Image,
  type ImageOptions,
  image,
  index,
  layer,
  sha256,
} from './images.ts';
import { push } from './push.ts';
import { type Registry, startRegistry } from './registry.ts';
import { removeTree } from './temporary-folder.ts';

const applets = (
  'sh ash cat cp cut date df du echo env expr false find grep gunzip gzip head hostname id ls md5sum mkdir ' +
  'mv ps pwd rm rmdir sed sha256sum sleep sort stat tail tar test touch tr true uname vi wc wget xargs'
).split(' ');

const config = { Cmd: ['sh'], Env: ['PATH=/bin'], WorkingDir: '/' };

const platforms = {
  amd64: { os: 'linux', architecture: 'amd64' },
  arm64: { os: 'linux', architecture: 'arm64', variant: 'v8' },
};

/** The layer of a root file system that has busybox and little else, and can run. */
export async function busyboxLayer(
  architecture: BusyboxArchitecture,
  compression: Compression = 'gzip',
): Promise<Layer> {
  const files: Files = {
    bin: { directory: true },
    'bin/busybox': { content: await readFile(await busyboxBinary(architecture)), mode: 0o755 },
    ...Object.fromEntries(applets.map((name) => [`bin/${name}`, { symlink: 'busybox' }])),
    etc: { directory: true },
    'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
    'etc/group': 'root:x:0:\nnogroup:x:65534:\n',
    root: { directory: true, mode: 0o700 },
    tmp: { directory: true, mode: 0o1777 },
  };
  return layer({ files, compression });
}

/** A busybox image that runs; `layers` come on top of it. */
export async function busyboxImage(
  architecture: BusyboxArchitecture,
  options: Partial<ImageOptions> & { compression?: Compression } = {},
): Promise<Image> {
  const { compression, layers = [], ...rest } = options;
  const base = await busyboxLayer(architecture, compression);
  return image({ platform: platforms[architecture], config, ...rest, layers: [base, ...layers] });
}

export interface StandardImages {
  /** library/busybox:latest, an OCI index of the two below with an attestation for each. */
  busybox: Manifest;
  busyboxAmd64: Image;
  busyboxArm64: Image;
  /** library/busybox:1.35, a single docker schema 2 manifest for amd64. */
  busybox135: Image;
  /** test/shared:1 and :2 share the busybox layer and have one of their own each. */
  shared1: Image;
  shared2: Image;
  /** test/twice:latest names one small layer twice in a row. */
  twice: Image;
  /** test/zstd:latest */
  zstd: Image;
  /** test/helm:latest, a Helm chart instead of an image. */
  helm: Manifest;
  /** test/nested:latest, an index whose only entry is the index of busybox, without a platform. */
  nested: Manifest;
  /** test/arm-only:latest, a single manifest for arm64. */
  armOnly: Image;
  /** test/no-media-type:latest, an OCI manifest without `mediaType` in its body. */
  noMediaType: Image;
}

/** Builds the images without pushing them; the bytes are the same on every run. */
export async function buildStandardImages(): Promise<StandardImages> {
  const base = await busyboxLayer('amd64');
  const amd64 = (layers: Layer[] = [], more: Partial<ImageOptions> = {}) =>
    image({ platform: platforms.amd64, config, ...more, layers: [base, ...layers] });
  const small = await layer({ files: { 'etc/empty': '' } });
  const busyboxAmd64 = amd64();
  const busyboxArm64 = await busyboxImage('arm64');
  const busybox = index([busyboxAmd64, busyboxArm64], { attestations: true });
  return {
    busybox,
    busyboxAmd64,
    busyboxArm64,
    busybox135: amd64([], { mediaTypes: 'docker' }),
    shared1: amd64([await layer({ files: { 'etc/one': 'first\n' } })]),
    shared2: amd64([await layer({ files: { 'etc/two': 'second\n' } })]),
    twice: amd64([small, small]),
    zstd: await busyboxImage('amd64', { compression: 'zstd' }),
    helm: await artifact(),
    nested: index([busybox]),
    armOnly: busyboxArm64,
    noMediaType: amd64([], { mediaTypeInBody: false }),
  };
}

/**
 * Copies the images that many tests use into the storage of a running registry, and returns them with their descriptors.
 * The first call pushes them to a registry and keeps its storage, because a copy takes much less CPU time than a push.
 */
export async function standardImages({ dir }: Pick<Registry, 'dir'>): Promise<StandardImages> {
  const images = await buildStandardImages();
  const digests = Object.values(images).map(({ descriptor }) => descriptor.digest);
  const kept = join(cache, `standard-images-${sha256(Buffer.from(digests.join())).slice(-16)}`);
  if (!existsSync(kept)) await keepStorage(images, kept);
  cpSync(kept, dir, { recursive: true });
  return images;
}

async function keepStorage(images: StandardImages, kept: string): Promise<void> {
  await using registry = await startRegistry();
  const put = (repository: string, tag: string, manifest: Manifest) =>
    push(registry.url, repository, tag, manifest);
  // One after the other: the registry's file storage is not safe against two uploads of a blob at a time.
  await put('library/busybox', 'latest', images.busybox);
  await put('library/busybox', '1.35', images.busybox135);
  await put('test/shared', '1', images.shared1);
  await put('test/shared', '2', images.shared2);
  await put('test/twice', 'latest', images.twice);
  await put('test/zstd', 'latest', images.zstd);
  await put('test/helm', 'latest', images.helm);
  await put('test/nested', 'latest', images.nested);
  await put('test/arm-only', 'latest', images.armOnly);
  await put('test/no-media-type', 'latest', images.noMediaType);
  const incoming = `${kept}.${process.pid}`;
  cpSync(registry.dir, incoming, { recursive: true });
  // The rename is atomic. If another process was first, its folder is the same and stays.
  await rename(incoming, kept).catch(() => removeTree(incoming));
}
