import { createHash, type Hash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { appendFile, copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';
import { concat, TAR_END, tarHeader, tarPadding } from '../src/archive/tar.ts';
import { image, index, type Layer, layerMediaType } from '../test/support/images.ts';
import { push } from '../test/support/push.ts';
import { hashing } from '../test/support/random-layer.ts';
import type { Registry } from '../test/support/registry.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { tarOfRealFiles } from './real-files.ts';

/** An image in a registry. */
export interface BenchImage {
  repository: string;
  /** Bytes of all its blobs, as they are stored. */
  bytes: number;
  /** Bytes of its unpacked layers. */
  unpackedBytes: number;
  blobUrls: string[];
}

const layerCount = 5;
const repository = 'bench/image';

/** The platform that docker, skopeo and DockerProxy choose from the index. */
export const platform = {
  os: 'linux',
  architecture: process.arch === 'x64' ? 'amd64' : process.arch,
};

/**
 * Makes an image of real files with about this many bytes, compressed like real images, in an index, and pushes it.
 */
export async function pushBenchImage(
  registry: Registry,
  bytes: number,
  signal: AbortSignal,
): Promise<BenchImage> {
  await using folder = await temporaryFolder();
  const inside = (name: string) => join(folder.path, name);
  const body = await makeBody(inside('body'), bytes / layerCount, signal);
  const layers: Layer[] = [];
  for (let at = 0; at < layerCount; at++) layers.push(await makeLayer(body, inside(`layer-${at}`), at));
  const made = image({ platform, layers, config: { Cmd: ['true'] } });
  await push(registry.url, repository, 'latest', index([made]));
  return {
    repository,
    bytes: made.blobs.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
    unpackedBytes: body.unpackedBytes * layerCount,
    blobUrls: made.blobs.map(
      ({ descriptor }) => `${registry.url}/v2/${repository}/blobs/${descriptor.digest}`,
    ),
  };
}

/** The first part of a layer, which all layers share: compressing it once is what makes the image quick to build. */
interface Body {
  path: string;
  unpackedBytes: number;
  /** The hash covers the stored bytes and the unpacked bytes. */
  stored: Hash;
  unpacked: Hash;
}

async function makeBody(path: string, bytes: number, signal: AbortSignal): Promise<Body> {
  const [stored, unpacked] = [createHash('sha256'), createHash('sha256')];
  const gzip = createGzip({ chunkSize: 2 ** 18 });
  const file = createWriteStream(path);
  const files = Readable.from(tarOfRealFiles(() => file.bytesWritten < bytes));
  await pipeline(files, hashing(unpacked), gzip, hashing(stored), file, { signal });
  return { path, unpackedBytes: gzip.bytesWritten, stored, unpacked };
}

/**
 * Makes a layer from the body and one more file, so that all layers differ: concatenated gzip streams are one stream.
 */
async function makeLayer(body: Body, path: string, at: number): Promise<Layer> {
  const content = Buffer.from(`This is layer ${at}.\n`);
  const header = tarHeader(`layer-${at}`, content.length);
  const plain = concat([header, content, tarPadding(content.length), TAR_END]);
  const packed = gzipSync(plain);
  await copyFile(body.path, path);
  await appendFile(path, packed);
  const digest = `sha256:${body.stored.copy().update(packed).digest('hex')}`;
  return {
    descriptor: { mediaType: layerMediaType.gzip, digest, size: (await stat(path)).size },
    diffId: `sha256:${body.unpacked.copy().update(plain).digest('hex')}`,
    content: { path },
  };
}
