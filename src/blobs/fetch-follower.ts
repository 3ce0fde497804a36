import type { Descriptor } from '../oci/descriptor.ts';
import { type BlobFiles, isSealed } from './blob-files.ts';
import type { FetchRegulator } from './fetch-regulator.ts';
import type { FetchedFile } from './fetched-file.ts';
import { isStillAt, openIncoming, restarted } from './incoming-file.ts';
import type { WantedBytes } from './wanted-bytes.ts';

export interface FetchFollowerOptions {
  readonly blob: Descriptor;
  /** The file that the other process writes. */
  readonly path: string;
  readonly fetched: FetchedFile;
  readonly regulator: FetchRegulator;
  readonly wanted: WantedBytes;
}

/**
 * Polls the file that another process writes, once. Returns whether that process has verified it, see
 * {@link BlobFiles.commit}.
 */
export async function followFetch({
  blob,
  path,
  fetched,
  regulator,
  wanted,
}: FetchFollowerOptions): Promise<boolean> {
  if (!fetched.isOpen) {
    const incoming = await openIncoming(path, blob);
    if (incoming === undefined) return false;
    fetched.open(incoming);
    // A missing file is fine: it may have its final name now.
  } else if ((await isStillAt(path, fetched.file)) === false) throw restarted(blob);
  const { size, mtimeMs } = await fetched.file.stat();
  if (size === blob.size && isSealed(blob.digest, mtimeMs)) {
    fetched.finish();
    return true;
  }
  fetched.advance(size);
  const reach = regulator.reach();
  if (reach > fetched.received) await wanted.request(reach);
  return false;
}
