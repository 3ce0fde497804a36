import { createHash } from 'node:crypto';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import type { Reference } from '../oci/reference.ts';

const STEM_MAX = 160;
const BUNDLE_STEM_MAX = 80;
const WINDOWS_DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|$)/i;

/**
 * The name of an archive on disk: `busybox.tar`, `busybox_1.36.tar`, `busybox_1.36_linux-arm64.tar`. Letters, digits,
 * `_`, `-`, `.` and `+` only, fewer than 255, no name that Windows keeps for a device.
 *
 * @param platform where it is another one than the server's default
 */
export function archiveFilename(references: readonly Reference[], platform: Platform | undefined): string {
  const suffix = platform === undefined ? '' : `_${formatPlatform(platform).replaceAll('/', '-')}`;
  const stem = shorten(bundleStem(references.map(imageStem)));
  return `${stem.replace(WINDOWS_DEVICE, '_$&')}${suffix}.tar`;
}

function imageStem({ path, tag, tagGiven, digest }: Reference): string {
  // Docker Hub's own images, wherever they are mirrored.
  const repository = path.replace(/^library\//, '');
  const version = digest === undefined ? tag : digest.replace(':', '-').slice(0, 19);
  const versioned = tagGiven || digest !== undefined;
  return repository.replaceAll('/', '_') + (versioned ? `_${version}` : '');
}

function bundleStem([first = '', ...others]: readonly string[]): string {
  const all = [first, ...others].join('+');
  return others.length === 0 || all.length <= BUNDLE_STEM_MAX ? all : `${first}+${others.length}-more`;
}

/** Long names are cut, with a hash of the whole, so that two of them stay two. */
function shorten(stem: string): string {
  if (stem.length <= STEM_MAX) return stem;
  const hash = createHash('sha256').update(stem).digest('hex').slice(0, 12);
  return `${stem.slice(0, STEM_MAX - hash.length - 1)}-${hash}`;
}
