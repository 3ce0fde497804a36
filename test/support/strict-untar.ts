import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract } from 'tar-stream';

/**
 * Unpacks a tar like Apptainer and syft, which create folders only from entries. Fails with ENOENT if the parent of a
 * file or folder has no earlier entry, and with EEXIST if a name has two entries.
 *
 * @returns the names of the entries, in the order of the tar
 */
export async function untarStrictly(tar: Uint8Array, folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Readable.from([tar]).pipe(extract())) {
    const { name, type, mode } = entry.header;
    names.push(name);
    const content = await buffer(entry);
    if (type === 'directory') await mkdir(join(folder, name), mode);
    else await writeFile(join(folder, name), content, { flag: 'wx', mode: mode ?? 0o644 });
  }
  return names;
}
