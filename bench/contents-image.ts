import { createHash, type Hash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { TAR_END, tarHeader, tarPadding } from '../src/archive/tar.ts';
import { image, layerMediaType } from '../test/support/images.ts';
import { push } from '../test/support/push.ts';
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

/** Bytes that one thread compresses as a gzip member. Several threads make an image sooner than one. */
const MEMBER = 32 * 2 ** 20;
const THREADS = 2;
const compress = promisify(gzip);

/** Makes an image of files of this machine, with about this many bytes unpacked. */
export function pushLargeFiles(
  registry: Registry,
  repository: string,
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
  return pushLayer(registry, repository, entries(), signal);
}

/** Makes an image of many small files, whose content is that of files of this machine. */
export function pushSmallFiles(
  registry: Registry,
  repository: string,
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
  return pushLayer(registry, repository, entries(), signal);
}

async function pushLayer(
  registry: Registry,
  repository: string,
  entries: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<ContentsImage> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'layer');
  const hashes = { stored: createHash('sha256'), unpacked: createHash('sha256') };
  let unpackedBytes = 0;
  let size = 0;
  const all = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of ended(entries)) {
      unpackedBytes += chunk.length;
      hashes.unpacked.update(chunk);
      yield chunk;
    }
  };
  const members = async function* (): AsyncGenerator<Uint8Array> {
    for await (const member of compressed(all())) {
      size += member.length;
      hashes.stored.update(member);
      yield member;
    }
  };
  await writeFile(path, members(), { signal });
  const digestOf = (hash: Hash): string => `sha256:${hash.digest('hex')}`;
  const digest = digestOf(hashes.stored);
  const layer = {
    descriptor: { mediaType: layerMediaType.gzip, digest, size },
    diffId: digestOf(hashes.unpacked),
    content: { path },
  };
  await push(
    registry.url,
    repository,
    'latest',
    image({ platform, layers: [layer], config: { Cmd: ['true'] } }),
  );
  const layerUrl = `${registry.url}/v2/${repository}/blobs/${digest}`;
  return { repository, unpackedBytes, layerUrl };
}

/** Adds the last file and the end of the archive. */
async function* ended(entries: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* entries;
  yield tarHeader(LAST_FILE, 5);
  yield Buffer.from('last\n');
  yield tarPadding(5);
  yield TAR_END;
}

/** Compresses bytes as gzip members on several threads, in order. */
async function* compressed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const running: Promise<Uint8Array>[] = [];
  let held: Uint8Array[] = [];
  let length = 0;
  const begin = (): void => {
    const member = compress(Buffer.concat(held), { chunkSize: 2 ** 20 });
    // An error without a listener would end the process before it is awaited.
    member.catch(() => {});
    running.push(member);
    [held, length] = [[], 0];
  };
  for await (const chunk of chunks) {
    held.push(chunk);
    length += chunk.length;
    if (length < MEMBER) continue;
    begin();
    if (running.length > THREADS) yield (await running.shift()) as Uint8Array;
  }
  begin();
  for (const member of running) yield await member;
}
