import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { TAR_END, tarHeader, tarPadding } from '../src/archive/tar.ts';
import { image, layerMediaType } from '../test/support/images.ts';
import { push } from '../test/support/push.ts';
import { hashing } from '../test/support/random-layer.ts';
import type { Registry } from '../test/support/registry.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { platform } from './bench-image.ts';
import { tarOfRealFiles } from './real-files.ts';

/** An image of one layer, in a registry. */
export interface ContentsImage {
  repository: string;
  /** Bytes of the unpacked layer. */
  unpackedBytes: number;
  layerUrl: string;
}

/** The path of the last file of each image. */
export const LAST_FILE = 'last';
const FILES_IN_FOLDER = 1000;
/** Bytes of the largest of many small files; the mean is half of it. */
const SMALL = 4096;

/** Makes an image of files of this machine, with about this many bytes unpacked. */
export function pushLargeFiles(
  registry: Registry,
  bytes: number,
  signal: AbortSignal,
): Promise<ContentsImage> {
  let written = 0;
  const entries = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of tarOfRealFiles(() => written < bytes)) {
      written += chunk.length;
      yield chunk;
    }
  };
  return pushLayer(registry, 'bench/large-files', entries(), signal);
}

/** Makes an image of many small files, whose content is that of files of this machine. */
export function pushSmallFiles(
  registry: Registry,
  count: number,
  signal: AbortSignal,
): Promise<ContentsImage> {
  const entries = async function* (): AsyncGenerator<Uint8Array> {
    let content = Buffer.alloc(0);
    for await (const chunk of tarOfRealFiles(() => content.length < 2 ** 22))
      content = Buffer.concat([content, chunk]);
    for (let at = 0; at < count; at++) {
      const size = (at * 7919) % SMALL;
      const start = (at * 104_729) % (content.length - SMALL);
      yield tarHeader(`data/${Math.floor(at / FILES_IN_FOLDER)}/file-${at}.js`, size);
      yield content.subarray(start, start + size);
      yield tarPadding(size);
    }
  };
  return pushLayer(registry, 'bench/small-files', entries(), signal);
}

async function pushLayer(
  registry: Registry,
  repository: string,
  entries: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<ContentsImage> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'layer');
  const [stored, unpacked] = [createHash('sha256'), createHash('sha256')];
  const gzip = createGzip({ chunkSize: 2 ** 18 });
  const all = async function* (): AsyncGenerator<Uint8Array> {
    yield* entries;
    yield tarHeader(LAST_FILE, 5);
    yield Buffer.from('last\n');
    yield tarPadding(5);
    yield TAR_END;
  };
  await pipeline(Readable.from(all()), hashing(unpacked), gzip, hashing(stored), createWriteStream(path), {
    signal,
  });
  const digest = `sha256:${stored.digest('hex')}`;
  const layer = {
    descriptor: { mediaType: layerMediaType.gzip, digest, size: (await stat(path)).size },
    diffId: `sha256:${unpacked.digest('hex')}`,
    content: { path },
  };
  await push(
    registry.url,
    repository,
    'latest',
    image({ platform, layers: [layer], config: { Cmd: ['true'] } }),
  );
  const layerUrl = `${registry.url}/v2/${repository}/blobs/${digest}`;
  return { repository, unpackedBytes: gzip.bytesWritten, layerUrl };
}
