import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { UsageError } from '../config/loader.ts';
import { referenceOrNone } from '../oci/reference.ts';
import { CommandError } from './command-error.ts';

/** The module of the page that reads pasted texts, which has no types here. It needs no browser. */
interface PasteReader {
  /** @param host the host of the service, whose own addresses name images, too */
  readPaste(
    text: string,
    host: string,
  ): { readonly images: readonly string[]; readonly candidates: readonly string[] };
  /** Returns the platforms that a text names for single images, by the names in `images`. */
  readPlatforms(text: string, host: string): ReadonlyMap<string, readonly string[]>;
}

/** An image in a list. */
export interface ListedImage {
  readonly name: string;
  /** The platforms of this image, as the list writes them: those of each service that has it. */
  readonly platforms?: readonly string[] | undefined;
}

/** Maximum bytes of a list. */
const LIST_LIMIT = 16 * 1024 * 1024;
/** A host without addresses, because no service runs here. */
const NO_HOST = 'dockerproxy.invalid';

/**
 * Reads the images that a file names: a list with comments, a compose file, Kubernetes manifests, or the output of Helm.
 * Services of a compose file can have platforms.
 *
 * @param file a path, or `-` for stdin
 * @throws CommandError if the file cannot be read; UsageError if it names no image, or is ambiguous
 */
export async function readImageList(file: string, stdin: Readable): Promise<readonly ListedImage[]> {
  const name = file === '-' ? 'stdin' : file;
  const text = await readText(name, file === '-' ? stdin : createReadStream(file));
  return imagesIn(text, name);
}

/** Finds the images in a text. @throws UsageError as {@link readImageList} does */
export async function imagesIn(text: string, name: string): Promise<readonly ListedImage[]> {
  const lines = text.split(/\r?\n/).map((line) => line.replace(/(?:^|\s)#.*/, '').trim());
  const words = lines.filter((line) => line !== '');
  if (words.length === 0) throw noImage(name);
  if (words.every((word) => referenceOrNone(word) !== undefined))
    return words.map((word) => ({ name: word }));
  const path = new URL('../../web/paste-reader.js', import.meta.url).href;
  const { readPaste, readPlatforms } = (await import(path)) as PasteReader;
  const { images, candidates } = readPaste(text, NO_HOST);
  if (candidates.length > 0)
    throw new UsageError([
      `${name} is ambiguous. It may mean: ${candidates.join(', ')}. Write full image names, one on a line.`,
    ]);
  if (images.length === 0) throw noImage(name);
  const platforms = readPlatforms(text, NO_HOST);
  return images.map((image) => ({ name: image, platforms: platforms.get(image) }));
}

function noImage(name: string): UsageError {
  return new UsageError([`No image found in ${name}. Write image names, one on a line.`]);
}

async function readText(name: string, stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of stream) {
      size += chunk.length;
      if (size > LIST_LIMIT) throw new CommandError(`${name} is longer than 16 MiB.`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`${name} cannot be read: ${(error as Error).message}.`, { cause: error });
  }
  return Buffer.concat(chunks).toString();
}
