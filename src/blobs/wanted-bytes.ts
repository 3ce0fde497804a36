import { constants, statSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import type { Descriptor } from '../oci/descriptor.ts';
import { wantedOf } from './blob-files.ts';

/** The bytes of an incoming file that processes other than its writer want, see {@link wantedOf}. */
export interface WantedBytes {
  /** Returns the length of the blob's beginning that is wanted; the whole if it is unknown, so that no process stalls. */
  read(): number;
  /**
   * Requests the beginning of the blob from the writer. The caller repeats this, because processes may overwrite each
   * other's request.
   */
  request(bytes: number): Promise<void>;
  /** Removes the request. Processes whose readers still want the bytes repeat it. */
  clear(): Promise<void>;
}

export function wantedBytesOf(incomingPath: string, { size }: Pick<Descriptor, 'size'>): WantedBytes {
  const path = wantedOf(incomingPath);
  const read = (): number => {
    try {
      return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    } catch {
      return size;
    }
  };
  return {
    read,
    async request(bytes) {
      if (bytes <= read()) return;
      const file = await open(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
      try {
        await file.truncate(bytes);
      } finally {
        await file.close();
      }
    },
    async clear() {
      await rm(path, { force: true }).catch(() => {});
    },
  };
}
