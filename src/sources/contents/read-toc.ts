import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { LayerTable } from '../../contents/layer-table.ts';
import { createStatedTableReader, ESTARGZ_TOC, UnusableToc } from '../../contents/stated-table.ts';
import { type BlobReader, readPart } from '../../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../../oci/descriptor.ts';
import type { LayerToc } from '../../oci/layer-toc.ts';
import { MalformedTar } from '../../tar/malformed-tar.ts';
import { createTarScanner, type ScannedEntry } from '../../tar/scanner.ts';
import { DamagedData, decompress } from '../../util/decompress.ts';

/** Maximum bytes of a compressed table, and of one as JSON. The limit of Podman for both is 150 MiB. */
export const TOC_MAX = { packed: 32 * 2 ** 20, unpacked: 150 * 2 ** 20 };
/** Maximum bytes of all paths and link targets. */
const TEXT_MAX = 32 * 2 ** 20;

/** Bytes of the footer of an eStargz layer: an empty gzip member whose extra field has the position of the table. */
const FOOTER = 51;
const FOOTER_FORM = /^([\da-f]{16})STARGZ$/;
const FOOTER_FIELD = [16, 38] as const;

export interface TocRequest {
  readonly layer: Descriptor;
  readonly toc: LayerToc;
  readonly blobs: BlobReader;
  /** Maximum number of entries. */
  readonly entries: number;
  /** Called with the number of bytes before they are read. An error ends the reading. */
  readonly admit: (bytes: number) => Promise<void>;
  /** Sees each unpacked chunk. */
  readonly onUnpacked: (chunk: Uint8Array) => void;
}

/**
 * Reads the table of contents of a layer by ranges, and verifies it by the digest in the manifest.
 *
 * @throws UnusableToc if the table is malformed, too large, or not that of the digest; else why it cannot be read
 */
export async function readToc(request: TocRequest, signal: AbortSignal): Promise<LayerTable> {
  try {
    return await (request.toc.kind === 'estargz'
      ? readEstargz(request, signal)
      : readChunked(request, signal));
  } catch (error) {
    if (error instanceof DamagedData || error instanceof MalformedTar)
      throw new UnusableToc(error.message, { cause: error });
    throw error;
  }
}

async function readChunked(request: TocRequest, signal: AbortSignal): Promise<LayerTable> {
  const { toc, entries, onUnpacked } = request;
  if (toc.kind !== 'zstd-chunked') throw new RangeError('Expected zstd:chunked');
  const table = createStatedTableReader({ entries, textBytes: TEXT_MAX }, undefined);
  const hash = createHash('sha256');
  const packed = await openRange(request, toc.range, signal);
  const hashed = Readable.from(
    (async function* () {
      for await (const chunk of packed as AsyncIterable<Buffer>) {
        hash.update(chunk);
        yield chunk;
      }
    })(),
  );
  for await (const chunk of limited(decompress(hashed))) {
    onUnpacked(chunk);
    table.push(chunk);
  }
  const found = table.end();
  requireDigest(toc, hash.digest('hex'));
  return found;
}

async function readEstargz(request: TocRequest, signal: AbortSignal): Promise<LayerTable> {
  const { layer, toc, entries, onUnpacked } = request;
  const end = layer.size - FOOTER;
  if (end <= 0) throw new UnusableToc('the layer is too short');
  const footer = await buffer(await openRange(request, { start: end, end: layer.size }, signal));
  const [, position] = FOOTER_FORM.exec(footer.toString('latin1', ...FOOTER_FIELD)) ?? [];
  const start = position === undefined ? end : Number.parseInt(position, 16);
  if (start >= end) throw new UnusableToc('the layer ends without the position of the table');
  const hash = createHash('sha256');
  let entry: ScannedEntry | undefined;
  const scanner = createTarScanner((one) => {
    entry ??= one;
  });
  let table: ReturnType<typeof createStatedTableReader> | undefined;
  let at = 0;
  for await (const chunk of limited(decompress(await openRange(request, { start, end }, signal)))) {
    onUnpacked(chunk);
    scanner.push(chunk);
    if (entry !== undefined) {
      if (entry.name !== ESTARGZ_TOC) throw new UnusableToc('the table has another name');
      table ??= createStatedTableReader({ entries, textBytes: TEXT_MAX }, entry.size);
      const own = chunk.subarray(Math.max(entry.offset - at, 0), Math.max(entry.offset + entry.size - at, 0));
      hash.update(own);
      table.push(own);
    }
    at += chunk.length;
  }
  scanner.end();
  if (table === undefined) throw new UnusableToc('the table is missing');
  const found = table.end();
  requireDigest(toc, hash.digest('hex'));
  return found;
}

async function openRange(
  { layer, blobs, admit }: TocRequest,
  range: ByteRange,
  signal: AbortSignal,
): Promise<Readable> {
  const bytes = range.end - range.start;
  if (bytes > TOC_MAX.packed) throw new UnusableToc('the table is too large');
  await admit(bytes);
  return readPart(blobs, layer, range, signal);
}

async function* limited(chunks: AsyncGenerator<Buffer, void>): AsyncGenerator<Buffer, void> {
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > TOC_MAX.unpacked) throw new UnusableToc('the table is too large');
    yield chunk;
  }
}

function requireDigest({ digest }: LayerToc, hex: string): void {
  if (digest !== `sha256:${hex}`) throw new UnusableToc('the table has another digest');
}
