import type { DeltaBase } from '../archive/filename.ts';
import { type ArchiveFormat, DEFAULT_FORMAT, FORMAT_NAMES, FORMATS, isFormat } from '../archive/format.ts';
import { quote, ServiceError } from '../errors.ts';
import { parseDigest } from '../oci/digest.ts';
import { formatPlatform, type Platform, type Platforms, parsePlatform } from '../oci/platform.ts';
import { formatReference, parseReference, type Reference } from '../oci/reference.ts';
import { parseByteSize } from '../util/byte-size.ts';

/** A download as its URL asks for it. */
export interface ArchiveQuery {
  readonly references: readonly Reference[];
  readonly platform: Platform | undefined;
  /** Several platforms; undefined: the one above. */
  readonly platforms: Platforms | undefined;
  /** Whether signatures come with all platforms. */
  readonly referrers: boolean;
  readonly format: ArchiveFormat;
  /** Whether the first bytes count more than a length. */
  readonly stream: boolean;
  /** What the receiver has already; undefined: nothing. */
  readonly have: DeltaBase | undefined;
  /** How the archive is cut; undefined: not at all. */
  readonly parts: PartsQuery | undefined;
  /** Whether the checksum is asked for, in place of the archive. */
  readonly checksum: boolean;
  /** Whether the metalink is asked for, in place of the archive. */
  readonly metalink: boolean;
  /** Whether to lead to the URL by digest, in place of the archive. */
  readonly redirect: boolean;
  /** The name that a client which knows no Content-Disposition saves the archive by; undefined where it is no name. */
  readonly savedAs: string | undefined;
}

/** Which part of an archive. */
export interface PartsQuery {
  /** Each is smaller than so many bytes. */
  readonly limit: number;
  /** The first is 1; undefined: all, as in a list of their checksums. */
  readonly number: number | undefined;
}

/** All images that a download is about, and so must be allowed. */
export function namedImages({ references, have }: ArchiveQuery): readonly Reference[] {
  return [...references, ...(have?.references ?? [])];
}

/** A parsed query string: a parameter given twice is a list. */
export type QueryString = Readonly<Record<string, string | string[] | undefined>>;

/** How messages write options: as parameters of a URL, or as flags of a command. */
export interface Spelling {
  /** The option as the subject of a sentence: `The parameter parts`. */
  name(option: string): string;
  /** The option with a value: `&parts=4GiB`. */
  set(option: string, value: string): string;
}

/** The spelling of a URL's parameters. */
export const URL_SPELLING: Spelling = {
  name: (option) => `The parameter ${option}`,
  set: (option, value) => `&${option}=${value}`,
};

/** The formats for several platforms, as messages name them. */
const SEVERAL_PLATFORMS = FORMAT_NAMES.filter((name) => FORMATS[name].treeEntries !== undefined).join(' or ');

/** Images in one archive. */
export const MAX_IMAGES = 10;

const OPTIONS = [
  'platform',
  'format',
  'stream',
  'referrers',
  'have',
  'parts',
  'part',
  'checksum',
  'metalink',
  'redirect',
];
/** What a file is asked for by whose making is watched: the file as a whole. */
const STATUS_OPTIONS = ['platform', 'format', 'stream'];
/** Bytes. Smaller ones would be for nobody, and make lists long. */
const PART_MIN = 2 ** 20;

/**
 * Reads the query of `/dl?myimage=…`, or the equivalent options of a command.
 *
 * @param spelling how messages write the options
 * @throws ServiceError a 400 that names the option
 */
export function parseArchiveQuery(query: QueryString, spelling: Spelling = URL_SPELLING): ArchiveQuery {
  return parseImages(query, OPTIONS, spelling);
}

/**
 * Reads the query of `/dl/status?myimage=…`.
 *
 * @throws ServiceError a 400 that names the parameter
 */
export function parseStatusQuery(query: QueryString): ArchiveQuery {
  return parseImages(query, STATUS_OPTIONS, URL_SPELLING);
}

function parseImages(query: QueryString, known: readonly string[], spelling: Spelling): ArchiveQuery {
  refuseUnknown(query, ['myimage', ...known]);
  const images = [query.myimage ?? []].flat();
  if (images.length === 0)
    throw invalid('The parameter myimage is missing: name an image, as in /dl?myimage=busybox.');
  if (images.length > MAX_IMAGES) {
    throw invalid(`There are ${images.length} images; one archive holds at most ${MAX_IMAGES}.`);
  }
  return {
    references: eachOnce(images.map(parseReference)),
    ...options(query, spelling),
    savedAs: undefined,
  };
}

/**
 * Reads a path such as `/dl/ghcr.io/org/app:1.2.tar`, `….tar.sha256` for its checksum, or `….tar.meta4` for its metalink,
 * and its query.
 *
 * @param file what stands behind `/dl/`, decoded
 * @throws ServiceError a 400 that names what is wrong, or `route-not-found` where it ends in none of these
 */
export function parseArchivePath(file: string, query: QueryString): ArchiveQuery {
  const [, image, ending] = /^(.*)\.tar(\.sha256|\.meta4)?$/s.exec(file) ?? [];
  if (image === undefined) {
    throw new ServiceError('route-not-found', `${quote(`/dl/${file}`)} does not end in .tar.`);
  }
  refuseUnknown(query, OPTIONS);
  return {
    references: [parseReference(image)],
    ...options(
      {
        ...query,
        ...(ending === '.sha256' && { checksum: '1' }),
        ...(ending === '.meta4' && { metalink: '1' }),
      },
      URL_SPELLING,
    ),
    savedAs: Object.keys(query).length === 0 ? `${image.split('/').at(-1)}.tar` : undefined,
  };
}

function options(query: QueryString, spelling: Spelling): Omit<ArchiveQuery, 'references' | 'savedAs'> {
  const platform = single(query, 'platform', spelling);
  const platforms = platformsOf(platform);
  const format = single(query, 'format', spelling) ?? DEFAULT_FORMAT;
  if (!isFormat(format))
    throw invalid(`The format ${quote(format)} is neither ${FORMAT_NAMES.join(' nor ')}.`);
  const referrers = flag(query, 'referrers', spelling);
  if (referrers && platforms !== 'all')
    throw invalid(
      `${spelling.name('referrers')} requires ${spelling.set('platform', 'all')} and ${spelling.set('format', SEVERAL_PLATFORMS)}, which include everything that referrers refer to.`,
    );
  const { treeEntries, subject } = FORMATS[format];
  if (platforms !== undefined && treeEntries === undefined)
    throw invalid(
      `Several platforms require ${spelling.set('format', SEVERAL_PLATFORMS)}. ${subject} is for one platform.`,
    );
  return {
    platform: platform === undefined || platforms !== undefined ? undefined : parsePlatform(platform),
    platforms,
    referrers,
    format,
    stream: flag(query, 'stream', spelling),
    have: haveOf(query),
    parts: partsOf(query, spelling),
    checksum: flag(query, 'checksum', spelling),
    metalink: flag(query, 'metalink', spelling),
    redirect: flag(query, 'redirect', spelling),
  };
}

/** Several platforms: `all`, or a comma list. */
function platformsOf(text: string | undefined): Platforms | undefined {
  if (text === 'all') return 'all';
  if (text === undefined || !text.includes(',')) return undefined;
  const listed = text.split(',').map(parsePlatform);
  return [...new Map(listed.map((platform) => [formatPlatform(platform), platform])).values()];
}

function flag(query: QueryString, name: string, spelling: Spelling): boolean {
  const value = single(query, name, spelling) ?? '0';
  if (value !== '0' && value !== '1')
    throw invalid(`${spelling.name(name)} is ${quote(value)}, but must be 0 or 1.`);
  return value === '1';
}

function haveOf(query: QueryString): DeltaBase | undefined {
  const have = [query.have ?? []].flat();
  if (have.length === 0) return undefined;
  const isLayer = (text: string): boolean => /^sha(?:256|384|512):/.test(text);
  const images = have.filter((text) => !isLayer(text));
  if (images.length > MAX_IMAGES)
    throw invalid(`There are ${images.length} images in have; at most ${MAX_IMAGES} are looked at.`);
  return {
    references: eachOnce(images.map(parseReference)),
    layers: [...new Set(have.filter(isLayer).map(parseDigest))],
  };
}

function partsOf(query: QueryString, spelling: Spelling): PartsQuery | undefined {
  const [parts, part] = [single(query, 'parts', spelling), single(query, 'part', spelling)];
  if (parts === undefined) {
    if (part === undefined) return undefined;
    throw invalid(
      `${spelling.name('parts')} is missing. Add the size of a part, as in ${spelling.set('parts', '4GiB')}.`,
    );
  }
  const limit = parseByteSize(parts);
  if (limit === undefined)
    throw invalid(`${spelling.name('parts')} is ${quote(parts)}, but must be a size such as 4GiB or 25MB.`);
  if (limit < PART_MIN)
    throw invalid(`${spelling.name('parts')} is ${quote(parts)}, but must be at least 1MiB.`);
  if (part !== undefined && !/^[1-9]\d{0,5}$/.test(part))
    throw invalid(`${spelling.name('part')} is ${quote(part)}, but must be a whole number from 1.`);
  return { limit, number: part === undefined ? undefined : Number(part) };
}

function refuseUnknown(query: QueryString, known: readonly string[]): void {
  const unknown = Object.keys(query).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new ServiceError(
    'parameter-unknown',
    `Unknown parameter ${quote(unknown)}. Supported: ${known.join(', ')}.`,
    { reason: `Unknown parameter ${quote(unknown)}` },
  );
}

function single(query: QueryString, name: string, spelling: Spelling): string | undefined {
  const value = query[name];
  if (Array.isArray(value)) throw invalid(`${spelling.name(name)} is given more than once.`);
  return value;
}

function eachOnce(references: readonly Reference[]): Reference[] {
  return [...new Map(references.map((reference) => [formatReference(reference), reference])).values()];
}

function invalid(message: string): ServiceError {
  // The first clause; a colon or a full stop within what the user wrote has no space behind it.
  return new ServiceError('parameter-invalid', message, { reason: message.replace(/[:;.](?:\s.*)?$/, '') });
}
