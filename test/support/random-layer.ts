import { createCipheriv, createHash, type Hash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { created, type Layer, layerMediaType } from './images.ts';
import { temporaryFolder } from './temporary-folder.ts';

/**
 * A layer of one incompressible file, the same for the same seed, streamed to a temporary file that disposal removes.
 * gzip only stores it (level 0), because tests need the size, and compression would take most of their time.
 */
export async function randomLayer(bytes: number, seed: string): Promise<Layer & AsyncDisposable> {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'layer.tar.gz');
  const plain = createHash('sha256');
  const stored = createHash('sha256');
  const archive = pack();
  const entry = archive.entry({ name: `random-${seed}`, size: bytes, mtime: created }, () =>
    archive.finalize(),
  );
  Readable.from(keystream(bytes, seed)).pipe(entry);
  await pipeline(
    Readable.from(archive),
    hashing(plain),
    createGzip({ level: 0 }),
    hashing(stored),
    createWriteStream(path),
  );
  return {
    descriptor: {
      mediaType: layerMediaType.gzip,
      digest: `sha256:${stored.digest('hex')}`,
      size: (await stat(path)).size,
    },
    diffId: `sha256:${plain.digest('hex')}`,
    content: { path },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

function* keystream(bytes: number, seed: string): Generator<Buffer> {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(256 * 1024);
  for (let left = bytes; left > 0; left -= zeros.length) yield cipher.update(zeros.subarray(0, left));
}

/** A step of a pipeline that hashes what passes. */
export const hashing = (hash: Hash) =>
  async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      hash.update(chunk);
      yield chunk;
    }
  };
