import type { Readable } from 'node:stream';
import { walkTar } from '../../archive/walk-tar.ts';
import { CatalogueError, quote } from '../../errors.ts';
import { streamFrom } from '../../streams.ts';
import { MISSING_BLOBS } from './engine-error.ts';
import { type AskedImage, missingFiles } from './missing-files.ts';
import { createInventory, type Inventory, ROOT_LISTS } from './saved-contents.ts';

/** Bytes; registries take no larger manifest, and engines keep none. */
const LIST_MAX = 4 * 1024 * 1024;
/** Bytes after the end of a tar, which pad it to the size of a tape's record: 10 KiB unless told. */
const TRAILER_MAX = 1024 * 1024;
const BLOB = /^blobs\//;
const OPENING_BRACE = 0x7b;

/**
 * Passes a saved archive on and holds its end back until every file that it names has passed: an engine leaves blobs out
 * without an error.
 *
 * @param asked what the engine was asked for
 */
export function wholeArchive(saved: Readable, asked: readonly AskedImage[], signal: AbortSignal): Readable {
  // What fails before anybody reads is told by the stream that is read.
  const stream = streamFrom(() => checked(saved, asked), signal);
  return stream.once('close', () => saved.destroy());
}

async function* checked(
  chunks: AsyncIterable<Buffer>,
  asked: readonly AskedImage[],
): AsyncGenerator<Uint8Array, void> {
  const inventory = createInventory();
  for await (const { entry, header, take, pass } of walkTar(chunks)) {
    if (entry === undefined) {
      // An engine that broke off says so after its last byte, which explains more than a list of files.
      const trailer = await take(TRAILER_MAX);
      requireFiles(inventory, asked);
      yield* [header, trailer];
    } else {
      yield header;
      if (entry.type === 'link') inventory.addLink(entry.name, entry.target ?? '');
      if (entry.type === 'file') {
        inventory.addFile(entry.name);
        yield* withList(inventory, entry.name, entry.size, take);
      }
    }
    yield* pass();
  }
}

/** Passes on the beginning of a file, or all of it where it may name others, which are noted. */
async function* withList(
  inventory: Inventory,
  name: string,
  size: number,
  take: (limit: number) => Promise<Buffer>,
): AsyncGenerator<Buffer, void> {
  const isRoot = ROOT_LISTS.has(name);
  if (isRoot && size > LIST_MAX)
    throw new CatalogueError('engine-failed', `The engine saved a ${name} of more than ${LIST_MAX} bytes.`);
  if (size > LIST_MAX || (!isRoot && !BLOB.test(name))) return;
  const first = await take(1);
  yield first;
  if (first[0] !== OPENING_BRACE && !isRoot) return;
  const others = await take(size - first.length);
  inventory.addList(name, Buffer.concat([first, others]));
  yield others;
}

/** @throws CatalogueError `engine-failed` */
function requireFiles(inventory: Inventory, asked: readonly AskedImage[]): void {
  const missing = missingFiles(inventory, asked);
  const [first] = missing;
  if (first === undefined) return;
  const files = missing.length === 1 ? 'a file' : `${missing.length} files`;
  throw new CatalogueError(
    'engine-failed',
    `The engine saved an incomplete archive. It names ${files} that it does not contain, such as ${quote(first, 160)}.`,
    { reason: 'The engine saved an incomplete archive', cause: new Error(MISSING_BLOBS) },
  );
}
