import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { runOrThrow } from './process.ts';

/** Describes a file: type and permissions, owner, time, target or digest, and its names, so that hard links compare. */
export type FileListing = Record<string, string>;

/** Lists everything below a folder, with names as bytes in Latin-1. */
export function listFiles(folder: string, except: (path: string) => boolean = () => false): FileListing {
  const found: [path: string, text: string, inode: string][] = [];
  const walk = (relative: string): void => {
    for (const entry of readdirSync(bytes(join(folder, relative)), { encoding: 'buffer' })) {
      const path = join(relative, entry.toString('latin1'));
      if (except(path)) continue;
      const absolute = bytes(join(folder, path));
      const stats = lstatSync(absolute, { bigint: true });
      const content = stats.isSymbolicLink()
        ? readlinkSync(absolute, { encoding: 'buffer' }).toString('latin1')
        : stats.isFile()
          ? createHash('sha256').update(readFileSync(absolute)).digest('hex')
          : `${stats.rdev}`;
      const text = [stats.mode.toString(8), stats.uid, stats.gid, stats.mtimeNs, content].join(' ');
      found.push([path, text, stats.isDirectory() ? path : `${stats.ino}`]);
      if (stats.isDirectory()) walk(path);
    }
  };
  walk('');
  const names = Map.groupBy(found, ([, , inode]) => inode);
  return Object.fromEntries(
    found
      .map(([path, text, inode]): [string, string] => {
        const all = (names.get(inode) ?? []).map(([name]) => name).sort();
        return [path, `${text} ${all.join('|')}`];
      })
      .sort(([one], [other]) => (one < other ? -1 : 1)),
  );
}

/** Lists the extended attributes of all files below a folder, one a line, with values as hex digits. */
export async function listAttributes(folder: string): Promise<string[]> {
  const flags = ['--recursive', '--physical', '--no-dereference', '--dump', '--encoding=hex', '--match=-'];
  const { stdout } = await runOrThrow('getfattr', [...flags, '.'], { cwd: folder });
  const files = stdout.split('\n\n').filter((block) => block.trim() !== '');
  return files
    .flatMap((block) => {
      const [path = '', ...lines] = block.trim().split('\n');
      return lines.map((line) => `${path.replace(/^# file: /, '')}\txattr ${line}`);
    })
    .sort();
}

function bytes(path: string): Buffer {
  return Buffer.from(path, 'latin1');
}
