import type { DeltaBase } from '../archive/filename.ts';
import { type ArchiveFormat, DEFAULT_FORMAT, FORMAT_NAMES, FORMATS } from '../archive/format.ts';
import { quote, ServiceError } from '../errors.ts';
import { parseDigest } from '../oci/digest.ts';
import { isSeveral, type PlatformChoice, parsePlatformChoice } from '../oci/platform-choice.ts';
import { formatReference, parseReference, type Reference } from '../oci/reference.ts';
import { parseByteSize } from '../util/byte-size.ts';
import { MAX_IMAGES, PARAMETER_NAMES, PATH_NAMES, type Parameters, STATUS_NAMES } from './parameters.ts';
import {
  invalidParameter,
  type QueryString,
  readParameters,
  type Spelling,
  URL_SPELLING,
} from './read-parameters.ts';

/** A download as its URL asks for it. */
export interface ArchiveQuery {
  readonly references: readonly Reference[];
  readonly platform: PlatformChoice;
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

/** The formats for several platforms, as messages name them. */
const SEVERAL_PLATFORMS = FORMAT_NAMES.filter((name) => FORMATS[name].treeEntries !== undefined).join(' or ');

/** Bytes. Smaller ones would be for nobody, and make lists long. */
const PART_MIN = 2 ** 20;

/**
 * Reads the query of `/dl?myimage=…`, or the equivalent options of a command.
 *
 * @param spelling how messages write the options
 * @throws ServiceError a 400 that names the option
 */
export function parseArchiveQuery(query: QueryString, spelling: Spelling = URL_SPELLING): ArchiveQuery {
  return archiveQuery(readParameters(query, PARAMETER_NAMES, spelling), spelling);
}

/**
 * Reads the query of `/dl/status?myimage=…`.
 *
 * @throws ServiceError a 400 that names the parameter
 */
export function parseStatusQuery(query: QueryString): ArchiveQuery {
  return archiveQuery(readParameters(query, STATUS_NAMES, URL_SPELLING), URL_SPELLING);
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
  const parameters = {
    ...readParameters(query, PATH_NAMES, URL_SPELLING),
    myimage: [image],
    ...(ending === '.sha256' && { checksum: true }),
    ...(ending === '.meta4' && { metalink: true }),
  };
  const savedAs = Object.keys(query).length === 0 ? `${image.split('/').at(-1)}.tar` : undefined;
  return { ...archiveQuery(parameters, URL_SPELLING), savedAs };
}

function archiveQuery(parameters: Parameters, spelling: Spelling): ArchiveQuery {
  const { myimage: images = [], platform, format = DEFAULT_FORMAT, referrers = false } = parameters;
  if (images.length === 0)
    throw invalidParameter('The parameter myimage is missing: name an image, as in /dl?myimage=busybox.');
  if (images.length > MAX_IMAGES)
    throw invalidParameter(`There are ${images.length} images; one archive holds at most ${MAX_IMAGES}.`);
  const choice = platform === undefined ? undefined : parsePlatformChoice(platform);
  if (referrers && choice !== 'all')
    throw invalidParameter(
      `${spelling.name('referrers')} requires ${spelling.set('platform', 'all')} and ${spelling.set('format', SEVERAL_PLATFORMS)}, which include everything that referrers refer to.`,
    );
  const { treeEntries, subject } = FORMATS[format];
  if (isSeveral(choice) && treeEntries === undefined)
    throw invalidParameter(
      `Several platforms require ${spelling.set('format', SEVERAL_PLATFORMS)}. ${subject} is for one platform.`,
    );
  return {
    references: eachOnce(images.map(parseReference)),
    platform: choice,
    referrers,
    format,
    stream: parameters.stream ?? false,
    have: haveOf(parameters.have),
    parts: partsOf(parameters, spelling),
    checksum: parameters.checksum ?? false,
    metalink: parameters.metalink ?? false,
    redirect: parameters.redirect ?? false,
    savedAs: undefined,
  };
}

function haveOf(have: readonly string[] = []): DeltaBase | undefined {
  if (have.length === 0) return undefined;
  const isLayer = (text: string): boolean => /^sha(?:256|384|512):/.test(text);
  const images = have.filter((text) => !isLayer(text));
  if (images.length > MAX_IMAGES)
    throw invalidParameter(`There are ${images.length} images in have; at most ${MAX_IMAGES} are looked at.`);
  return {
    references: eachOnce(images.map(parseReference)),
    layers: [...new Set(have.filter(isLayer).map(parseDigest))],
  };
}

function partsOf({ parts, part }: Parameters, spelling: Spelling): PartsQuery | undefined {
  if (parts === undefined) {
    if (part === undefined) return undefined;
    throw invalidParameter(
      `${spelling.name('parts')} is missing. Add the size of a part, as in ${spelling.set('parts', '4GiB')}.`,
    );
  }
  const limit = parseByteSize(parts);
  if (limit === undefined)
    throw invalidParameter(
      `${spelling.name('parts')} is ${quote(parts)}, but must be a size such as 4GiB or 25MB.`,
    );
  if (limit < PART_MIN)
    throw invalidParameter(`${spelling.name('parts')} is ${quote(parts)}, but must be at least 1MiB.`);
  return { limit, number: part };
}

function eachOnce(references: readonly Reference[]): Reference[] {
  return [...new Map(references.map((reference) => [formatReference(reference), reference])).values()];
}
