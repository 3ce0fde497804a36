import type { Setting } from '../setting.ts';
import { bytes, duration, text } from '../types.ts';

/** Folders and sizes of cached and kept data. */
export const CACHE = {
  cacheSize: {
    type: bytes,
    default: '20GiB',
    doc: 'Maximum size of the cache for blobs and saved images. 0 turns it off.',
  },
  readAhead: {
    type: bytes,
    default: '256MiB',
    doc: 'Maximum number of bytes that are fetched into the cache ahead of the fastest client of a download. Beyond that, the fetch waits for the client. At least 1MiB; 0 sets no limit.',
  },
  cacheDir: {
    type: text,
    doc: 'Folder for data that can be fetched again. Default: /var/cache/dockerproxy for root, otherwise ~/.cache/dockerproxy.',
    example: '/var/cache/dockerproxy',
  },
  stateDir: {
    type: text,
    doc: 'Folder for data that must be kept. Default: /var/lib/dockerproxy for root, otherwise ~/.local/state/dockerproxy.',
    example: '/var/lib/dockerproxy',
  },
  staleIfError: {
    type: duration,
    default: '24h',
    doc: 'How long the last known digest of a tag may be used while its registry doesn’t respond. 0s turns this off.',
  },
} as const satisfies Record<string, Setting<unknown>>;
