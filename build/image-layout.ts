/**
 * Writes the container image as an OCI layout: `image-layout.ts FOLDER VERSION ARCHITECTURE=LAYER,LAYER…`. Layers are
 * files that gzip has compressed; the image runs as deploy/Dockerfile says.
 * See https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md.
 */
import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { gunzipSync } from 'node:zlib';
import { runConfigOf } from './image-config.ts';

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

const MEDIA_TYPE = 'application/vnd.oci.image';
const [folder = '', version = '', ...images] = process.argv.slice(2);
const created = new Date(Number(process.env.SOURCE_DATE_EPOCH ?? 0) * 1000).toISOString();
const config = runConfigOf(readFileSync(join(import.meta.dirname, '..', 'deploy', 'Dockerfile'), 'utf8'));
const digestOf = (bytes: Uint8Array): string => `sha256:${hash('sha256', bytes)}`;

function writeBlob(mediaType: string, bytes: Uint8Array): Descriptor {
  const digest = digestOf(bytes);
  writeFileSync(join(folder, 'blobs', ...digest.split(':')), bytes);
  return { mediaType, digest, size: bytes.length };
}

function writeJson(kind: string, value: object): Descriptor {
  return writeBlob(`${MEDIA_TYPE}.${kind}+json`, Buffer.from(JSON.stringify(value)));
}

/** Writes the image of one architecture; returns its entry of the index. */
function writeImage(image: string): object {
  const [architecture = '', paths = ''] = image.split('=');
  const files = paths.split(',').map((path) => readFileSync(path));
  const layers = files.map((bytes) => writeBlob(`${MEDIA_TYPE}.layer.v1.tar+gzip`, bytes));
  const platform = { architecture, os: 'linux' };
  const content = {
    ...{ created, ...platform, config },
    rootfs: { type: 'layers', diff_ids: files.map((bytes) => digestOf(gunzipSync(bytes))) },
  };
  const manifest = {
    ...{ schemaVersion: 2, mediaType: `${MEDIA_TYPE}.manifest.v1+json` },
    ...{ config: writeJson('config.v1', content), layers },
  };
  return { ...writeJson('manifest.v1', manifest), platform };
}

mkdirSync(join(folder, 'blobs', 'sha256'), { recursive: true });
const manifests = images.map(writeImage);
const index = writeJson('index.v1', {
  ...{ schemaVersion: 2, mediaType: `${MEDIA_TYPE}.index.v1+json`, manifests },
});
const annotations = {
  'io.containerd.image.name': `docker.io/library/dockerproxy:${version}`,
  'org.opencontainers.image.ref.name': version,
};
writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
writeFileSync(
  join(folder, 'index.json'),
  JSON.stringify({ schemaVersion: 2, manifests: [{ ...index, annotations }] }),
);
