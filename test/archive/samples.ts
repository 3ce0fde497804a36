import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { ArchiveImage } from '../../src/archive/entries.ts';
import type { BlobReader } from '../../src/oci/blob-reader.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { type Digest, sha256 } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { parseReference } from '../../src/oci/reference.ts';

/** Blobs in memory, with a reader that hands them out in chunks of an odd size. */
export class MemoryBlobs implements BlobReader {
  readonly #blobs = new Map<Digest, Uint8Array>();

  add(
    bytes: Uint8Array,
    mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip',
    algorithm = 'sha256',
  ): Descriptor {
    const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
    this.#blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  async read(blob: Descriptor, range = { start: 0, end: blob.size }): Promise<Readable> {
    const bytes = this.#blobs.get(blob.digest)?.subarray(range.start, range.end);
    if (bytes === undefined) throw new Error(`no blob ${blob.digest}`);
    const chunks = Array.from({ length: Math.ceil(bytes.length / 777) }, (_, at) =>
      bytes.slice(at * 777, (at + 1) * 777),
    );
    return Readable.from(chunks);
  }
}

/** An image with the given layers and a real JSON manifest, with OCI's media type by default. */
export function sampleImage(
  name: string,
  blobs: MemoryBlobs,
  layers: readonly Descriptor[],
  mediaType: string = MEDIA_TYPES.ociManifest,
): ArchiveImage {
  const config = blobs.add(
    new TextEncoder().encode(JSON.stringify({ os: 'linux', architecture: 'amd64', made: name })),
    'application/vnd.oci.image.config.v1+json',
  );
  const manifestBytes = new TextEncoder().encode(
    JSON.stringify({ schemaVersion: 2, mediaType, config, layers }),
  );
  return {
    reference: parseReference(name),
    manifest: {
      mediaType,
      digest: sha256(manifestBytes),
      size: manifestBytes.length,
    },
    manifestBytes,
    config,
    layers,
    configPlatform: { os: 'linux', architecture: 'amd64' },
  };
}
