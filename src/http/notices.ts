import type { Archive, LiveArchive } from '../sources/image-source.ts';

const ZSTD_NOTICE = 'zstd-compressed layers: Docker Engine before 23.0 cannot load this archive';

/** What whoever takes an archive should know of it beforehand, each in a few words of ASCII. */
export function archiveNotices({
  zstd,
  staleSince,
}: Pick<Archive | LiveArchive, 'zstd' | 'staleSince'>): string[] {
  return [
    ...(zstd ? [ZSTD_NOTICE] : []),
    ...(staleSince === undefined
      ? []
      : [`the registry does not answer: the tag pointed here on ${new Date(staleSince).toISOString()}`]),
  ];
}
