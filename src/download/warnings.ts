import { taggedName } from '../oci/reference.ts';
import type { Archive, LiveArchive, Omission } from '../sources/image-source.ts';
import { loadedName } from './tag-commands.ts';

const PARTIAL_NOTICE =
  'the registry cannot be reached: signatures and other referrers that its mirrors lack are not included';
const ZSTD_NOTICE = 'zstd-compressed layers: Docker Engine before 23.0 cannot load this archive';

/** Lists the warnings about an archive for its receiver, each in a few words of ASCII. */
export function archiveWarnings({
  zstd,
  staleSince,
  omitted,
  partialReferrers,
}: Pick<Archive | LiveArchive, 'zstd' | 'staleSince' | 'omitted' | 'partialReferrers'>): string[] {
  return [
    ...(omitted && omitted.layers.length > 0 ? [deltaNotice(omitted)] : []),
    ...(omitted && omitted.untagged.length > 0 ? [untaggedNotice(omitted)] : []),
    ...(omitted && omitted.unknown > 0 ? [unknownNotice(omitted)] : []),
    ...(zstd ? [ZSTD_NOTICE] : []),
    ...(partialReferrers ? [PARTIAL_NOTICE] : []),
    ...(staleSince === undefined
      ? []
      : [`the registry does not answer: the tag pointed here on ${new Date(staleSince).toISOString()}`]),
  ];
}

function deltaNotice({ layers }: Omission): string {
  const what = layers.length === 1 ? 'omitted layer is' : `${layers.length} omitted layers are`;
  return `a delta: it loads only where the ${what} already present`;
}

/** Names one image and counts the others, which keeps the header short. */
function untaggedNotice({ untagged: [first, ...others] }: Omission): string {
  if (first === undefined) return '';
  const more = others.length === 0 ? '' : `, and ${others.length} more`;
  const names = `${loadedName(first)} as ${taggedName(first.reference)}${more}`;
  const load =
    first.platforms.length > 1
      ? 'load it, check each platform with docker save --platform'
      : 'load it with docker load --platform';
  return `the image has no tag: ${load}, then tag ${names}`;
}

function unknownNotice({ layers, unknown }: Omission): string {
  const which = unknown === 1 ? '1 digest in have matches' : `${unknown} digests in have match`;
  // An engine's image may lack some of these layers, so unknown digests are not a mistake.
  const hint = layers.length > 0 ? '' : '; add the name to the digest of an image, as in app@sha256:...';
  return `${which} no layer of this archive${hint}`;
}
