import type { ArchiveFormat } from '../archive/entries.ts';
import { CatalogueError, quote } from '../errors.ts';
import { type Platform, parsePlatform } from '../oci/platform.ts';
import { formatReference, parseReference, type Reference } from '../oci/reference.ts';

/** A download as its URL asks for it. */
export interface ArchiveQuery {
  readonly references: readonly Reference[];
  readonly platform: Platform | undefined;
  readonly format: ArchiveFormat;
  /** Whether the first bytes count more than a length. */
  readonly stream: boolean;
}

/** A parsed query string: a parameter given twice is a list. */
export type QueryString = Readonly<Record<string, string | string[] | undefined>>;

/** Images in one archive. */
export const MAX_IMAGES = 10;

/**
 * Reads the query of `/dl?myimage=…`.
 *
 * @throws CatalogueError a 400 that names the parameter
 */
export function parseArchiveQuery(query: QueryString): ArchiveQuery {
  refuseUnknown(query, ['myimage', 'platform', 'format', 'stream']);
  const images = [query.myimage ?? []].flat();
  if (images.length === 0)
    throw invalid('The parameter myimage is missing: name an image, as in /dl?myimage=busybox.');
  if (images.length > MAX_IMAGES) {
    throw invalid(`There are ${images.length} images; one archive holds at most ${MAX_IMAGES}.`);
  }
  return { references: eachOnce(images.map(parseReference)), ...options(query) };
}

/**
 * Reads a path such as `/dl/ghcr.io/org/app:1.2.tar` and its query.
 *
 * @param file what stands behind `/dl/`, decoded
 * @throws CatalogueError a 400 that names what is wrong, or `route-not-found` where it does not end in `.tar`
 */
export function parseArchivePath(file: string, query: QueryString): ArchiveQuery {
  if (!file.endsWith('.tar')) {
    throw new CatalogueError('route-not-found', `${quote(`/dl/${file}`)} does not end in .tar.`);
  }
  refuseUnknown(query, ['platform', 'format', 'stream']);
  return { references: [parseReference(file.slice(0, -'.tar'.length))], ...options(query) };
}

function options(query: QueryString): Omit<ArchiveQuery, 'references'> {
  const platform = single(query, 'platform');
  const format = single(query, 'format') ?? 'docker';
  if (format !== 'docker' && format !== 'oci')
    throw invalid(`The format ${quote(format)} is neither docker nor oci.`);
  const stream = single(query, 'stream') ?? '0';
  if (stream !== '0' && stream !== '1')
    throw invalid(`The parameter stream is ${quote(stream)}, neither 0 nor 1.`);
  return {
    platform: platform === undefined ? undefined : parsePlatform(platform),
    format,
    stream: stream === '1',
  };
}

function refuseUnknown(query: QueryString, known: readonly string[]): void {
  const unknown = Object.keys(query).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new CatalogueError(
    'parameter-unknown',
    `There is no parameter ${quote(unknown)} here; there is ${known.join(', ')}.`,
    { reason: `Unknown parameter ${quote(unknown)}` },
  );
}

function single(query: QueryString, name: string): string | undefined {
  const value = query[name];
  if (Array.isArray(value)) throw invalid(`The parameter ${name} is given more than once.`);
  return value;
}

function eachOnce(references: readonly Reference[]): Reference[] {
  return [...new Map(references.map((reference) => [formatReference(reference), reference])).values()];
}

function invalid(message: string): CatalogueError {
  // The first clause; a colon or a full stop within what the user wrote has no space behind it.
  return new CatalogueError('parameter-invalid', message, { reason: message.replace(/[:;.](?:\s.*)?$/, '') });
}
