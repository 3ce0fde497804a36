import { opendir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { tarHeader, tarPadding } from '../src/archive/tar.ts';

/** Every Linux system has programs, libraries and texts here: what images are made of. */
const source = '/usr';
/** Larger files would make the size of a layer a matter of chance. */
const largest = 2 ** 21;

/**
 * The entries of a tar file, without its end, with this machine's own files for as long as `wanted` says so. A
 * machine with few files gives them again in another folder.
 */
export async function* tarOfRealFiles(wanted: () => boolean): AsyncGenerator<Uint8Array> {
  for (let copy = 1; ; copy++) {
    let found = 0;
    for await (const path of filePaths()) {
      if (!wanted()) return;
      const content = await readFile(path).catch(() => undefined);
      if (content === undefined) continue;
      found += content.length;
      yield tarHeader(`copy-${copy}/${relative('/', path)}`, content.length);
      yield content;
      yield tarPadding(content.length);
    }
    if (found === 0) throw new Error(`there are no files in ${source} to make an image of`);
  }
}

async function* filePaths(): AsyncGenerator<string> {
  for await (const entry of await opendir(source, { recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    // A tar header counts bytes where JavaScript counts characters: with ASCII names both are the same.
    if (!entry.isFile() || !/^[\x20-\x7e]+$/.test(path)) continue;
    const size = (await stat(path).catch(() => undefined))?.size ?? 0;
    if (size > 0 && size <= largest) yield path;
  }
}
