import type { Readable } from 'node:stream';
import { walkTar } from '../../archive/walk-tar.ts';
import { detail } from '../../errors/details.ts';
import { quote, ServiceError } from '../../errors.ts';
import { streamFrom } from '../../util/streams.ts';
import { MISSING_BLOBS } from './engine-error.ts';
import { type AskedImage, missingFiles } from './missing-files.ts';
import { createInventory, type Inventory, ROOT_LISTS } from './saved-contents.ts';

/** Maximum bytes of a list. Registries accept no larger manifests, so engines do not store any. */
const LIST_MAX = 4 * 1024 * 1024;
/** Maximum bytes after the end of a tar. Padding to a whole tape record takes up to 10 KiB by default. */
const TRAILER_MAX = 1024 * 1024;
const BLOB = /^blobs\//;
const OPENING_BRACE = 0x7b;

/**
 * Passes on a saved archive, but delays its end until every file that it names has passed. An engine can omit blobs
 * without an error.
 *
 * @param asked the requested images
 */
export function wholeArchive(saved: Readable, asked: readonly AskedImage[], signal: AbortSignal): Readable {
  // The returned stream reports errors that occur before it is read.
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
      // Reads to the end first: if the engine failed, its own error explains more than a list of files.
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

/** Passes on a file. If it may be a list, reads all of it and records the files that it names. */
async function* withList(
  inventory: Inventory,
  name: string,
  size: number,
  take: (limit: number) => Promise<Buffer>,
): AsyncGenerator<Buffer, void> {
  const isRoot = ROOT_LISTS.has(name);
  if (isRoot && size > LIST_MAX)
    throw new ServiceError('engine-failed', detail('engine-file-large', { path: name, limit: LIST_MAX }));
  if (size > LIST_MAX || (!isRoot && !BLOB.test(name))) return;
  const first = await take(1);
  yield first;
  if (first[0] !== OPENING_BRACE && !isRoot) return;
  const others = await take(size - first.length);
  inventory.addList(name, Buffer.concat([first, others]));
  yield others;
}

/** Checks that the archive is complete. @throws ServiceError `engine-failed` if it is not */
function requireFiles(inventory: Inventory, asked: readonly AskedImage[]): void {
  const missing = missingFiles(inventory, asked);
  const [first] = missing;
  if (first === undefined) return;
  throw new ServiceError(
    'engine-failed',
    detail('engine-archive-incomplete', { count: missing.length, path: quote(first, 160) }),
    { reason: 'The engine saved an incomplete archive', cause: new Error(MISSING_BLOBS) },
  );
}
