import { Buffer } from 'node:buffer';
import type { Hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import { finishDigest } from '../oci/digest.ts';
import { streamFrom } from '../util/streams.ts';

/**
 * Returns only verified bytes. A part of a blob has no digest of its own to compare with. With a cache, the part is
 * read after the whole blob is stored and verified. Without a cache, the whole blob is read for it. Then the last
 * bytes of the part wait for the digest, so that a wrong part never looks complete.
 */
export function verifiedReader(reader: BlobReader): BlobReader {
  return {
    ...reader,
    async read(blob, range = { start: 0, end: blob.size }, signal, onFetched) {
      if (range.start === 0 && range.end === blob.size)
        return reader.read(blob, undefined, signal, onFetched);
      if (reader.readVerified !== undefined) return reader.readVerified(blob, range, signal, onFetched);
      return cutOut(reader, blob, range, signal);
    },
  };
}

/** Gives a part of a blob, which is read whole. */
function cutOut(reader: BlobReader, blob: Descriptor, range: ByteRange, signal: AbortSignal): Readable {
  return streamFrom(async function* (ended) {
    let at = 0;
    let last: Buffer | undefined;
    for await (const chunk of (await reader.read(blob, undefined, ended)) as AsyncIterable<Buffer>) {
      const wanted = chunk.subarray(Math.max(range.start - at, 0), Math.max(range.end - at, 0));
      at += chunk.length;
      if (wanted.length === 0) continue;
      if (at < range.end) yield wanted;
      else last = Buffer.from(wanted);
    }
    if (last !== undefined) yield last;
  }, signal);
}

/**
 * Streams the last part of a blob. Its last chunk leaves only after the digest of the whole blob is verified.
 *
 * @param before the hash of all bytes before this part
 */
export function verifiedRest(
  rest: Readable,
  { digest }: Descriptor,
  before: Hash,
  signal: AbortSignal,
): Readable {
  return streamFrom(async function* () {
    const hash = before.copy();
    let last: Buffer | undefined;
    for await (const chunk of rest as AsyncIterable<Buffer>) {
      if (last !== undefined) yield last;
      hash.update(chunk);
      last = chunk;
    }
    if (finishDigest(hash, digest) !== digest)
      throw new ServiceError('content-mismatch', detail('content-wrong', { digest }));
    if (last !== undefined) yield last;
  }, signal);
}
