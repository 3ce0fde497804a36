import type { DeltaBase } from '../archive/archive-name.ts';
import { type ArchiveFormat, DEFAULT_FORMAT, FORMAT_NAMES, FORMATS } from '../archive/format.ts';
import { detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';
import { parseDigest } from '../oci/digest.ts';
import type { Platform } from '../oci/platform.ts';
import { isSeveral, type PlatformChoice, parsePlatformChoice } from '../oci/platform-choice.ts';
import { formatReference, parseReference, type Reference } from '../oci/reference.ts';
import { parseByteSize } from '../util/byte-size.ts';
import type { Compression } from './compression.ts';
import { MAX_IMAGES, PARAMETER_NAMES, PATH_NAMES, type Parameters, STATUS_NAMES } from './parameters.ts';
import {
  invalidParameter,
  type QueryString,
  readParameters,
  type Spelling,
  URL_SPELLING,
} from './read-parameters.ts';

/** An archive as a URL or a command asks for it. */
export interface ArchiveQuery {
  readonly references: readonly Reference[];
  readonly platform: PlatformChoice;
  /** The platforms of single images, as in {@link ArchiveRequest}. Only commands have them. */
  readonly ownPlatforms?: ReadonlyMap<string, Platform>;
  /** The name by which the image loads; undefined for that of its reference. */
  readonly name: Reference | undefined;
  /** True if the archive also includes signatures and other referrers. */
  readonly referrers: boolean;
  readonly format: ArchiveFormat;
  /** True if no format was named, so that the content decides. */
  readonly isFormatOpen: boolean;
  /** The compression of the file; undefined for none. */
  readonly compress: Compression | undefined;
  /** True for one layer in each image: its root file system. */
  readonly squash: boolean;
  /** True if the client prefers early bytes to a known length. */
  readonly stream: boolean;
  /** The images whose layers the receiver already has; undefined for a full archive. */
  readonly have: DeltaBase | undefined;
  /** How the archive is cut; undefined: not at all. */
  readonly parts: PartsQuery | undefined;
}

/** The kind of a file: an archive, a part of it, or a text about either. */
export type FileKind = 'archive' | 'part' | 'checksum' | 'metalink';

/** A file as its URL asks for it, or a redirect to the URL of that file by digest. */
export type FileQuery = ArchiveQuery & {
  /** The name by which a client without Content-Disposition saves the file; undefined for a URL without a name. */
  readonly savedAs: string | undefined;
} & ({ readonly kind: FileKind } | { readonly kind: 'redirect'; readonly target: FileKind });

/** Which part of an archive. */
export interface PartsQuery {
  /** The maximum size of a part, in bytes. */
  readonly limit: number;
  /** The first is 1; undefined: all, as in a list of their checksums. */
  readonly number: number | undefined;
}

/** All images that a download is about, and so must be allowed. */
export function namedImages({
  references,
  have,
}: Pick<ArchiveQuery, 'references' | 'have'>): readonly Reference[] {
  return [...references, ...(have?.references ?? [])];
}

/** The formats for several platforms. */
const SEVERAL_PLATFORMS = FORMAT_NAMES.filter((name) => FORMATS[name].treeEntries !== undefined);

/** In bytes. Smaller parts have no use and would make lists long. */
const PART_MIN = 2 ** 20;

/**
 * Reads the query of `/dl?myimage=…`.
 *
 * @throws ServiceError a 400 that names the parameter
 */
export function parseArchiveQuery(query: QueryString): FileQuery {
  return fileQuery(readParameters(query, PARAMETER_NAMES, URL_SPELLING), undefined);
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
 * @param file the decoded path after `/dl/`
 * @throws ServiceError 400 with the name of the wrong value, or `route-not-found` for an unknown file extension
 */
export function parseArchivePath(file: string, query: QueryString): FileQuery {
  const [, image, ending] = /^(.*)\.tar(\.sha256|\.meta4)?$/s.exec(file) ?? [];
  if (image === undefined) {
    throw new ServiceError('route-not-found', detail('path-ending', { path: quote(`/dl/${file}`) }));
  }
  const parameters = {
    ...readParameters(query, PATH_NAMES, URL_SPELLING),
    myimage: [image],
    ...(ending === '.sha256' && { checksum: true }),
    ...(ending === '.meta4' && { metalink: true }),
  };
  const savedAs = Object.keys(query).length === 0 ? `${image.split('/').at(-1)}.tar` : undefined;
  return fileQuery(parameters, savedAs);
}

function fileQuery(parameters: Parameters, savedAs: string | undefined): FileQuery {
  const query = { ...archiveQuery(parameters, URL_SPELLING), savedAs };
  const kind = kindOf(parameters);
  return parameters.redirect ? { ...query, kind: 'redirect', target: kind } : { ...query, kind };
}

function kindOf({ checksum, metalink, parts }: Parameters): FileKind {
  if (checksum && metalink)
    throw new ServiceError('parameter-invalid', detail('checksum-and-metalink', {}), {
      reason: 'Choose checksum or metalink, not both',
    });
  if (checksum) return 'checksum';
  if (metalink) return 'metalink';
  return parts === undefined ? 'archive' : 'part';
}

/**
 * Interprets parameters of a URL, or the equivalent flags of a command.
 *
 * @param spelling how messages write the options
 * @param mostImages the maximum number of images in the archive
 * @throws ServiceError a 400 that names the option
 */
export function archiveQuery(
  parameters: Parameters,
  spelling: Spelling,
  mostImages = MAX_IMAGES,
): ArchiveQuery {
  const {
    myimage: images = [],
    platform,
    format = DEFAULT_FORMAT,
    referrers = false,
    squash = false,
  } = parameters;
  if (images.length === 0) throw invalidParameter(detail('image-unnamed', {}));
  if (images.length > mostImages)
    throw invalidParameter(detail('images-exceeded', { count: images.length, limit: mostImages }));
  const choice = platform === undefined ? undefined : parsePlatformChoice(platform);
  const { treeEntries, artifacts, unpacked } = FORMATS[format];
  const asked = spelling.set('format', format);
  const severalPlatforms = { anyOf: SEVERAL_PLATFORMS.map((name) => spelling.set('format', name)) };
  if (referrers && treeEntries === undefined)
    throw invalidParameter(
      detail('referrers-format', {
        option: spelling.name('referrers'),
        formats: severalPlatforms,
        format: asked,
      }),
    );
  if (unpacked !== undefined && parameters.have !== undefined)
    throw invalidParameter(detail('have-format', { option: spelling.name('have'), format: asked }));
  if (unpacked !== undefined && images.length > unpacked.mostImages)
    throw invalidParameter(detail('format-single', { format: asked }));
  if (artifacts === 'files' && parameters.have !== undefined)
    throw invalidParameter(detail('have-layers', { option: spelling.name('have'), format: asked }));
  if (squash && unpacked?.layoutLayers === undefined)
    throw invalidParameter(
      detail('squash-format', {
        option: spelling.name('squash'),
        formats: spelling.set('format', 'docker-classic'),
        format: asked,
      }),
    );
  if (isSeveral(choice) && treeEntries === undefined)
    throw invalidParameter(detail('platforms-format', { formats: severalPlatforms, format: asked }));
  return {
    references: eachOnce(images.map(parseReference)),
    platform: choice,
    name: nameOf(parameters, spelling),
    referrers,
    format,
    isFormatOpen: parameters.format === undefined,
    compress: compressionOf(parameters, spelling),
    squash,
    stream: parameters.stream ?? false,
    have: haveOf(parameters, spelling),
    parts: partsOf(parameters, spelling),
  };
}

function nameOf({ name, myimage = [], format = DEFAULT_FORMAT }: Parameters, spelling: Spelling) {
  if (name === undefined) return undefined;
  const option = spelling.name('name');
  if (!FORMATS[format].isNamed)
    throw invalidParameter(detail('name-format', { option, format: spelling.set('format', format) }));
  if (myimage.length > 1) throw invalidParameter(detail('name-single', { option, count: myimage.length }));
  const reference = parseReference(name);
  if (reference.digest !== undefined)
    throw invalidParameter(detail('name-digest', { option, text: quote(name) }));
  return reference;
}

function compressionOf(parameters: Parameters, spelling: Spelling): Compression | undefined {
  const { compress, format = DEFAULT_FORMAT } = parameters;
  if (compress === undefined) return undefined;
  if (!FORMATS[format].unpacked?.isCompressible)
    throw invalidParameter(
      detail('compress-format', {
        option: spelling.name('compress'),
        formats: spelling.set('format', 'rootfs'),
      }),
    );
  for (const name of ['parts', 'checksum', 'metalink'] as const)
    if (parameters[name])
      throw invalidParameter(
        detail('compress-excludes', { option: spelling.name('compress'), other: spelling.name(name) }),
      );
  return compress;
}

function haveOf({ have = [] }: Parameters, spelling: Spelling): DeltaBase | undefined {
  if (have.length === 0) return undefined;
  const isLayer = (text: string): boolean => /^sha(?:256|384|512):/.test(text);
  const images = have.filter((text) => !isLayer(text));
  if (images.length > MAX_IMAGES)
    throw invalidParameter(
      detail('have-exceeded', { option: spelling.name('have'), count: images.length, limit: MAX_IMAGES }),
    );
  return {
    references: eachOnce(images.map(parseReference)),
    layers: [...new Set(have.filter(isLayer).map(parseDigest))],
  };
}

function partsOf({ parts, part }: Parameters, spelling: Spelling): PartsQuery | undefined {
  if (parts === undefined) {
    if (part === undefined) return undefined;
    throw invalidParameter(
      detail('parts-missing', { option: spelling.name('parts'), example: spelling.set('parts', '4GiB') }),
    );
  }
  const limit = parseByteSize(parts);
  if (limit === undefined)
    throw invalidParameter(detail('size-invalid', { option: spelling.name('parts'), text: quote(parts) }));
  if (limit < PART_MIN)
    throw invalidParameter(
      detail('size-small', { option: spelling.name('parts'), text: quote(parts), limit: '1MiB' }),
    );
  return { limit, number: part };
}

function eachOnce(references: readonly Reference[]): Reference[] {
  return [...new Map(references.map((reference) => [formatReference(reference), reference])).values()];
}
