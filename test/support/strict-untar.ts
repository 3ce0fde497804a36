import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract } from 'tar-stream';

/**
 * Unpacks a tar as Apptainer and syft do: a folder exists only after its own entry. A file or a folder whose parent has no
 * entry before it ends with ENOENT, and a second entry of one name with EEXIST.
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
