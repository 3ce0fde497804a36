import { runOrThrow } from '../test/support/process.ts';

/** Returns the bytes on the disk below a path; 0 for a missing path. */
export async function diskBytes(path: string): Promise<number> {
  const { stdout } = await runOrThrow('sh', ['-c', '[ ! -e "$1" ] || du -skx "$1"', 'sh', path]);
  return (Number.parseInt(stdout, 10) || 0) * 1024;
}
