import type { Partition } from '../archive/parts.ts';
import { escapeHtml } from '../util/escape-markup.ts';
import type { Replica } from './replicas.ts';

/** A file as a metalink describes it. */
export interface MetalinkFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The sha256 of the file, in hex digits. */
  readonly hash: string;
  readonly pieces: Pieces | undefined;
  /** The URLs of the file, the best first. */
  readonly urls: readonly FileUrl[];
}

export interface Pieces {
  /** Bytes of each but the last. */
  readonly length: number;
  /** The sha256 of each, in hex digits. */
  readonly hashes: readonly string[];
}

export interface FileUrl extends Pick<Replica, 'location'> {
  readonly url: string;
  /** The smallest is tried first. */
  readonly priority: number;
}

/**
 * Describes a file by its hashes.
 *
 * @param partitions the cuts by which it was hashed: whole and, for a large file, in pieces
 * @param hashes by partition, in their order
 */
export function metalinkEntry(
  file: Pick<MetalinkFile, 'name' | 'size' | 'urls'>,
  [, cut]: readonly Partition[],
  [[hash = ''] = [], pieces]: readonly (readonly string[])[],
): MetalinkFile {
  return { ...file, hash, pieces: pieces && cut && { length: cut.partSize, hashes: pieces } };
}

/** The Content-Type of metalinks. */
export const METALINK_TYPE = 'application/metalink4+xml';

/**
 * Writes a metalink: the URLs of files, and the hashes that verify them.
 *
 * @param generator name and version of the program: `DockerProxy/1.0.0`
 * @see https://www.rfc-editor.org/rfc/rfc5854
 */
export function renderMetalink(files: readonly MetalinkFile[], generator: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
<generator>${escapeHtml(generator)}</generator>
${files.map(fileElement).join('')}</metalink>
`;
}

function fileElement({ name, size, hash, pieces, urls }: MetalinkFile): string {
  return `<file name="${escapeHtml(name)}">
<size>${size}</size>
${hashElement(hash, ' type="sha-256"')}${pieces === undefined ? '' : piecesElement(pieces)}${urls.map(urlElement).join('')}</file>
`;
}

function piecesElement({ length, hashes }: Pieces): string {
  return `<pieces length="${length}" type="sha-256">
${hashes.map((hash) => hashElement(hash)).join('')}</pieces>
`;
}

function hashElement(hash: string, attributes = ''): string {
  return `<hash${attributes}>${hash}</hash>\n`;
}

function urlElement({ url, priority, location }: FileUrl): string {
  const where = location === undefined ? '' : ` location="${escapeHtml(location)}"`;
  return `<url priority="${priority}"${where}>${escapeHtml(url)}</url>\n`;
}
