import { readFile } from 'node:fs/promises';
import process from 'node:process';

/**
 * Returns an argument of this process with one Latin-1 character for each byte. Node.js decodes arguments as UTF-8 and
 * replaces other bytes, but file names can contain any bytes. Linux keeps the original arguments. They are those of the
 * parent if it started this process with another version of Node.js.
 */
export async function argumentBytes(text: string): Promise<string> {
  const encoded = Buffer.from(text).toString('latin1');
  if (!text.includes('\ufffd')) return encoded;
  for (const id of ['self', process.ppid]) {
    const given = await readFile(`/proc/${id}/cmdline`, 'latin1').catch(() => '');
    const found = given
      .split('\0')
      .find((one) => one !== encoded && Buffer.from(one, 'latin1').toString() === text);
    if (found !== undefined) return found;
  }
  return encoded;
}
