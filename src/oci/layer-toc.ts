import type { ByteRange, Descriptor } from './descriptor.ts';
import { type Digest, isDigest } from './digest.ts';
import { ANNOTATIONS } from './manifest.ts';

/** A table of contents within a layer, which an annotation in the manifest identifies by its digest. */
export type LayerToc =
  /** The digest is that of the uncompressed table. The end of the layer states its position. */
  | { readonly kind: 'estargz'; readonly digest: Digest }
  /** The digest is that of the compressed table. */
  | { readonly kind: 'zstd-chunked'; readonly digest: Digest; readonly range: ByteRange };

/** Offset, compressed and uncompressed length, and the type of the table, which is 1 for JSON. */
const POSITION = /^(\d{1,15}):(\d{1,15}):\d{1,15}:1$/;

/**
 * Finds the table of contents of a layer; undefined without a usable annotation.
 *
 * @see https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md#content-verification-in-estargz
 * @see https://github.com/containers/storage/blob/main/pkg/chunked/internal/minimal/compression.go WriteZstdChunkedManifest
 */
export function tocOf({ annotations, size }: Descriptor): LayerToc | undefined {
  // stargz-snapshotter writes both digests for zstd:chunked.
  const stated = (name: keyof typeof ANNOTATIONS): string | undefined => annotations?.[ANNOTATIONS[name]];
  const chunked = stated('zstdChunkedDigest') ?? stated('zstdChunkedOldDigest');
  if (chunked !== undefined) {
    const position = stated('zstdChunkedPosition') ?? stated('zstdChunkedOldPosition');
    const [, offset, length] = POSITION.exec(position ?? '') ?? [];
    const range = { start: Number(offset), end: Number(offset) + Number(length) };
    const isWithin = range.start < range.end && range.end <= size;
    return isWithin && isDigest(chunked) ? { kind: 'zstd-chunked', digest: chunked, range } : undefined;
  }
  const digest = stated('estargzToc');
  return isDigest(digest) ? { kind: 'estargz', digest } : undefined;
}
