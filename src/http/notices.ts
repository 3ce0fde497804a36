import type { Archive, LiveArchive, Omission } from '../sources/image-source.ts';

const ZSTD_NOTICE = 'zstd-compressed layers: Docker Engine before 23.0 cannot load this archive';

/** What whoever takes an archive should know of it beforehand, each in a few words of ASCII. */
export function archiveNotices({
  zstd,
  staleSince,
  omitted,
}: Pick<Archive | LiveArchive, 'zstd' | 'staleSince' | 'omitted'>): string[] {
  return [
    ...(omitted && omitted.layers.length > 0 ? [deltaNotice(omitted)] : []),
    ...(zstd ? [ZSTD_NOTICE] : []),
    ...(staleSince === undefined
      ? []
      : [`the registry does not answer: the tag pointed here on ${new Date(staleSince).toISOString()}`]),
  ];
}

function deltaNotice({ layers }: Omission): string {
  const what =
    layers.length === 1 ? 'layer that it leaves out is' : `${layers.length} layers that it leaves out are`;
  return `a delta: it loads only where the ${what} already`;
}
