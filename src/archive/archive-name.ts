import { createHash } from 'node:crypto';
import type { Digest } from '../oci/digest.ts';
import { formatPlatform, type Platform, type Platforms } from '../oci/platform.ts';
import type { PlatformChoice } from '../oci/platform-choice.ts';
import { formatReference, type Reference } from '../oci/reference.ts';
import { type ArchiveFormat, FORMATS } from './format.ts';

const STEM_MAX = 160;
const DELTA_STEM_MAX = 48;
const AS_STEM_MAX = 48;
const PLATFORMS_STEM_MAX = 98;
const BUNDLE_STEM_MAX = 80;
const WINDOWS_DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|$)/i;

/** The archive that completes a delta. */
export interface DeltaBase {
  readonly references: readonly Reference[];
  /** Layers that were named one by one. */
  readonly layers: readonly Digest[];
}

/** The properties of an archive that its name states. */
export interface NamedArchive {
  readonly references: readonly Reference[];
  /** The name by which the image loads, if it is not that of its reference. */
  readonly name?: Reference | undefined;
  readonly format: ArchiveFormat;
  /** Undefined for the default platform of the service. */
  readonly platform: PlatformChoice;
  /** True if each image has one layer, its root file system. */
  readonly squash?: boolean | undefined;
  /** The images and layers that a delta requires; undefined if the archive is not a delta. */
  readonly base?: DeltaBase | undefined;
}

/**
 * Returns the name of an archive on disk: `busybox.tar`, `busybox_1.36.tar`, `busybox_1.36_linux-arm64.tar`,
 * `app_2.1_delta-from-2.0.tar`, `busybox_as-mine_1.tar`. A hash distinguishes names that only count, such as `a+2-more-84405245.tar`. A name has
 * fewer than 255 letters, digits, `_`, `-`, `.` and `+`, and Windows does not reserve it for a device.
 */
export function archiveFilename({ references, name, format, platform, squash, base }: NamedArchive): string {
  const forPlatform = platform === undefined ? '' : `_${platformStem(platform)}`;
  const delta = base === undefined ? '' : `_delta-from-${deltaStem(base, references)}`;
  const added = `${name === undefined ? '' : `_as-${shorten(imageStem(name), AS_STEM_MAX)}`}${delta}`;
  const stem = shorten(bundleStem(references), STEM_MAX - added.length);
  return `${stem.replace(WINDOWS_DEVICE, '_$&')}${forPlatform}${added}${squash ? '_squashed' : FORMATS[format].suffix}.tar`;
}

function platformStem(platform: Platform | Platforms): string {
  if (platform === 'all') return 'all-platforms';
  const names = [platform].flat().map((one) => formatPlatform(one).replaceAll('/', '-'));
  const all = names.join('+');
  return all.length <= PLATFORMS_STEM_MAX ? all : `${names.length}-platforms-${mark(names)}`;
}

/** The version of the sent repository only. */
function deltaStem({ references, layers }: DeltaBase, sent: readonly Reference[]): string {
  const repositories = new Set(sent.map(({ name }) => name));
  const isSame = (reference: Reference): boolean =>
    repositories.size === 1 && repositories.has(reference.name);
  const bases = references.map((reference) =>
    isSame(reference) ? versionOf(reference) : imageStem(reference),
  );
  const count = layers.length === 1 ? '1-layer' : `${layers.length}-layers`;
  const named = layers.length === 0 ? [] : [`${count}-${mark(layers.toSorted())}`];
  const [first = '', ...others] = [...bases, ...named];
  const all = [first, ...others].join('+');
  if (all.length <= DELTA_STEM_MAX) return all;
  if (others.length === 0) return shorten(first, DELTA_STEM_MAX);
  const whole = [...references.map(formatReference), ...layers].toSorted();
  return shorten(`${first}+${others.length}-more-${mark(whole)}`, DELTA_STEM_MAX);
}

/** Returns the tag also for a pinned image, so that its file has the name that people know. */
function versionOf({ tag = 'latest', tagGiven, digest }: Reference): string {
  return digest === undefined || tagGiven ? tag : digest.replace(':', '-').slice(0, 19);
}

function imageStem(reference: Reference): string {
  const { path, tagGiven, digest } = reference;
  // Docker Hub's own images, also in mirrors.
  const repository = path.replace(/^library\//, '');
  const version = versionOf(reference);
  const versioned = tagGiven || digest !== undefined;
  return repository.replaceAll('/', '_') + (versioned ? `_${version}` : '');
}

function bundleStem(references: readonly Reference[]): string {
  const [first = '', ...others] = references.map(imageStem);
  const all = [first, ...others].join('+');
  if (others.length === 0 || all.length <= BUNDLE_STEM_MAX) return all;
  return `${first}+${others.length}-more-${mark(references.map(formatReference))}`;
}

/** A hash that distinguishes lists for which the name only states the length. */
function mark(names: readonly string[]): string {
  return createHash('sha256').update(names.join('\n')).digest('hex').slice(0, 8);
}

/** Long names are shortened, with a hash of the whole name, so that they stay distinct. */
function shorten(stem: string, longest: number): string {
  if (stem.length <= longest) return stem;
  const hash = createHash('sha256').update(stem).digest('hex').slice(0, 12);
  return `${stem.slice(0, longest - hash.length - 1)}-${hash}`;
}
