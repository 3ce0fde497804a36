import { taggedName } from '../oci/reference.ts';
import type { Archive, LiveArchive, Omission } from '../sources/image-source.ts';
import { loadedName } from './tag-commands.ts';

const ZSTD_NOTICE = 'zstd-compressed layers: Docker Engine before 23.0 cannot load this archive';

/** What whoever takes an archive should know of it beforehand, each in a few words of ASCII. */
export function archiveNotices({
  zstd,
  staleSince,
  omitted,
}: Pick<Archive | LiveArchive, 'zstd' | 'staleSince' | 'omitted'>): string[] {
  return [
    ...(omitted && omitted.layers.length > 0 ? [deltaNotice(omitted)] : []),
    ...(omitted && omitted.untagged.length > 0 ? [untaggedNotice(omitted)] : []),
    ...(omitted && omitted.unknown > 0 ? [unknownNotice(omitted)] : []),
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

/** One image in full: a header stays short. */
function untaggedNotice({ untagged: [first, ...others] }: Omission): string {
  if (first === undefined) return '';
  const more = others.length === 0 ? '' : `, and ${others.length} more`;
  const names = `${loadedName(first)} as ${taggedName(first.reference)}${more}`;
  const load =
    first.platforms.length > 1
      ? 'load it, check each platform with docker save --platform'
      : 'load it with docker load --platform';
  return `it has no tag: ${load}, then tag ${names}`;
}

function unknownNotice({ layers, unknown }: Omission): string {
  const which = unknown === 1 ? '1 digest in have is' : `${unknown} digests in have are`;
  // Of what an engine has, some layers are just not in the other image.
  const hint = layers.length > 0 ? '' : ': that of an image needs its name, as in app@sha256:...';
  return `${which} of no layer here${hint}`;
}
